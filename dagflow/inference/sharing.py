"""Sharing: answers that are asked for only once, where the file asks for that.

`dedup` lets identical requests that are under way share one call, and `cache` keeps whole answers for later ones.
Requests are identical when worker, model, prompt or messages, parameters, and the keys of the worker's limits are.
Only complete answers are kept.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec

from dagflow.completion import Completion
from dagflow.inference.flight import Flights, free

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from dagflow.exchange import Chunk, Request
    from dagflow.inference.guarded import GuardedWorker
    from dagflow.store.answers import Answers

    Ask = Callable[[Request], AsyncIterator[Chunk]]

_COMPLETE: Final = frozenset({"stop", "tool_calls"})


class Sharing:
    """Asks a worker, unless the answer is there or on its way.

    Args:
        cache: what keeps answers; None for nothing.
        dedup: whether requests under way share a call.
    """

    def __init__(self, worker: GuardedWorker, cache: Answers | None, dedup: bool) -> None:
        self._worker = worker
        self._cache = cache
        self._flights = Flights() if dedup else None

    async def infer(self, request: Request) -> Completion:
        """Answer with a whole completion, as a worker does."""
        return Completion.of([chunk async for chunk in self._answer(request, self._infer_as_chunk)])

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """Answer in chunks, as a worker does."""
        return self._answer(request, self._worker.stream)

    async def close(self) -> None:
        """End shared calls, and let go of the cache."""
        if self._flights is not None:
            await self._flights.close()
        if self._cache is not None:
            await self._cache.close()

    async def _answer(self, request: Request, ask: Ask) -> AsyncIterator[Chunk]:
        key = self._key(request)
        if self._cache is not None and (kept := await self._cache.get(key)) is not None:
            kept.shared, kept.usage = "cache", free(kept.usage)
            async for chunk in kept.chunks():
                yield chunk
            return

        def call(request: Request) -> AsyncIterator[Chunk]:
            return self._kept(key, ask(request))

        stream = call(request) if self._flights is None else self._flights.stream(key, request, call)
        try:
            async for chunk in stream:
                yield chunk
        finally:
            await stream.aclose()

    async def _kept(self, key: bytes, stream: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
        """Pass a stream on, and keep what it was, if it came to a good end."""
        chunks: list[Chunk] = []
        try:
            async for chunk in stream:
                if self._cache is not None:
                    chunks.append(chunk)
                yield chunk
        finally:
            await stream.aclose()
        if self._cache is not None and (answer := Completion.of(chunks)).finish_reason in _COMPLETE:
            self._cache.put(key, answer)

    async def _infer_as_chunk(self, request: Request) -> AsyncIterator[Chunk]:
        async for chunk in (await self._worker.infer(request)).chunks():
            yield chunk

    def _key(self, request: Request) -> bytes:
        asked = (
            self._worker.identity,
            request.model,
            request.prompt,
            request.messages,
            request.parameters,
            self._worker.keys_of(request.record),
        )
        try:
            text = msgspec.json.encode(asked, enc_hook=repr, order="deterministic")
        except (TypeError, ValueError):  # what JSON can't hold is the worker's to refuse
            text = repr(asked).encode("utf-8", "surrogatepass")
        return blake2b(text, digest_size=16).digest()
