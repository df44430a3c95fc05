"""Taps: samples of the records that pass an edge, or of what a worker was sent and answered.

A tap swaps the way in of a channel, or the methods of a guarded worker, while it is open; it never waits, never
changes what it sees, and drops what its reader is too slow for. Nothing is paid while nobody taps.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dagflow.channel.watching import watch
from dagflow.completion import Completion
from dagflow.errors import describe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from dagflow.engine.wiring import Wiring
    from dagflow.exchange import Chunk, Embeddings, Request
    from dagflow.inference.guarded import GuardedWorker
    from dagflow.record import Record

QUEUE: Final = 64
"""How many samples may wait for their reader."""

_METHODS: Final = ("infer", "stream", "embed")
_MOST_CHUNKS: Final = 10_000  # of an answer that a sample keeps


class Passed(NamedTuple):
    """A record as it went into an edge; its fields are those of that moment."""

    time: float
    edge: str
    record: Record


class Asked(NamedTuple):
    """A call of a worker: what it was sent (a request, or texts to embed), and what it answered or raised."""

    time: float
    worker: str
    sent: Request | Sequence[str]
    answered: Mapping[str, Any]
    error: str | None
    duration_s: float


class Tap:
    """One reader's view. It takes at most `rate` samples a second.

    Attributes:
        seen: how many records or calls have passed; taken: how many of them were sampled.
        dropped: how many samples its reader was too slow for.
    """

    def __init__(self, rate: float) -> None:
        self.seen = self.taken = self.dropped = 0
        self._every_s = 1 / rate
        self._next_s = 0.0
        self._ended = False
        self._waiting: asyncio.Queue[Passed | Asked | None] = asyncio.Queue(QUEUE)

    def wants(self) -> bool:
        """Count what passes, and say whether it is to be sampled."""
        self.seen += 1
        now_s = monotonic()
        if now_s < self._next_s:
            return False
        self._next_s = max(self._next_s + self._every_s, now_s - self._every_s)
        return True

    def offer(self, sample: Passed | Asked) -> None:
        """Take a sample, or drop it where too many wait."""
        try:
            self._waiting.put_nowait(sample)
            self.taken += 1
        except asyncio.QueueFull:
            self.dropped += 1

    async def next(self) -> Passed | Asked | None:
        """Give the next sample, waiting for it; None at the end."""
        if self._ended and self._waiting.empty():
            return None
        return await self._waiting.get()

    def end(self) -> None:
        """Give no more samples but those that wait."""
        self._ended = True
        if self._waiting.empty():
            self._waiting.put_nowait(None)  # for a reader that waits


class Taps:
    """All taps of one run."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._open: dict[str, list[Tap]] = {}

    @property
    def count(self) -> int:
        """How many are open."""
        return sum(map(len, self._open.values()))

    def end(self) -> None:
        """End all taps: the run is over."""
        for tap in [tap for taps in self._open.values() for tap in taps]:
            tap.end()

    @contextmanager
    def edge(self, name: str, rate: float) -> Iterator[Tap]:
        """Tap an edge by its name, while the block lasts.

        Raises:
            KeyError: there is no such edge.
        """
        channel, tap = self._wiring.channels[name], Tap(rate)
        taps = self._open.setdefault(name, [])

        def see(record: Record) -> None:
            for one in taps:
                if one.wants():
                    one.offer(Passed(time(), name, record.copy()))

        taps.append(tap)
        watch(channel, see)
        try:
            yield tap
        finally:
            taps.remove(tap)
            if not taps:
                watch(channel, None)

    @contextmanager
    def worker(self, name: str, rate: float) -> Iterator[Tap]:
        """Tap a worker by its name, while the block lasts.

        Raises:
            KeyError: there is no such worker.
        """
        worker, tap = self._wiring.workers[name], Tap(rate)
        taps = self._open.setdefault(name, [])
        if not taps:
            vars(worker).update(_watched(worker, taps))
        taps.append(tap)
        try:
            yield tap
        finally:
            taps.remove(tap)
            if not taps:
                for method in _METHODS:
                    vars(worker).pop(method, None)


def _watched(worker: GuardedWorker, taps: list[Tap]) -> dict[str, Any]:
    """Give methods that stand before those of the worker's class, and show what goes through them."""
    cls = type(worker)

    async def infer(request: Request) -> Completion:
        with _Call(worker.name, request, taps) as call:
            call.answered = await cls.infer(worker, request)
            return call.answered

    async def embed(texts: Sequence[str]) -> Embeddings:
        with _Call(worker.name, texts, taps) as call:
            call.answered = await cls.embed(worker, texts)
            return call.answered

    async def stream(request: Request) -> AsyncIterator[Chunk]:
        with _Call(worker.name, request, taps) as call:
            chunks: list[Chunk] = []
            source = cls.stream(worker, request)
            try:
                async for chunk in source:
                    if call.chosen and len(chunks) < _MOST_CHUNKS:
                        chunks.append(chunk)
                    yield chunk
            finally:
                call.answered = Completion.of(chunks)
                await source.aclose()

    return {"infer": infer, "embed": embed, "stream": stream}


class _Call:
    """A call that is watched: when it ends, those taps that want it get it."""

    def __init__(self, worker: str, sent: Any, taps: list[Tap]) -> None:
        self.answered: Any = None
        self.chosen = [tap for tap in taps if tap.wants()]
        self._worker = worker
        self._sent = sent
        self._began, self._began_s = time(), monotonic()

    def __enter__(self) -> _Call:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, _trace: Any) -> None:
        if not self.chosen:
            return
        words = None
        if error is not None:
            words = describe(error) if isinstance(error, Exception) else "cancelled"
        duration_s = monotonic() - self._began_s
        sample = Asked(self._began, self._worker, self._sent, _told(self.answered), words, duration_s)
        for tap in self.chosen:
            tap.offer(sample)


def _told(answered: Completion | Embeddings | None) -> dict[str, Any]:
    """Say an answer as it is now: stages may change it."""
    if isinstance(answered, Completion):
        return answered.as_dict()
    return {} if answered is None else {"vectors": len(answered)}
