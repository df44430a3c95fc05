"""A worker that keeps every rule, and for each rule one that breaks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from dagflow import Chunk, Completion, ModelWorker, Request, Usage, WorkerError
from dagflow.testing import Sample, ScriptedWorker


class Sound(ModelWorker):
    """Keeps every rule: answers with the text backwards, in two chunks."""

    async def infer(self, request: Request) -> Completion:
        await asyncio.sleep(0)
        return Completion(self.answer(request), "stop", "sound", Usage(1, 1))

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        await asyncio.sleep(0)
        text = self.answer(request)
        yield Chunk(text[:3])
        await asyncio.sleep(0)
        yield Chunk(text[3:], "stop", Usage(1, 1))

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[float(len(text)), 0.0] for text in texts]

    def answer(self, request: Request) -> str:
        """Make the answer."""
        if not request.text:
            raise WorkerError("refused", "there is nothing to answer")
        return request.text[::-1]


class Plain(ModelWorker):
    """Keeps every rule with `infer` alone."""

    async def infer(self, request: Request) -> Completion:
        return Completion("yes")


class Endless(Sound):
    """Gives no reason for the end."""

    async def infer(self, request: Request) -> Completion:
        return Completion(self.answer(request), None, "sound", Usage(1, 1))


class Torn(Sound):
    """Does not mark the end of its stream."""

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        yield Chunk(self.answer(request))


class Other(Sound):
    """Streams something else than it answers."""

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        yield Chunk(self.answer(request).upper(), "stop", Usage(1, 1))


class Short(Sound):
    """Leaves out empty texts."""

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[float(len(text))] for text in texts if text]


class Crashing(Sound):
    """Does not expect a request without messages."""

    def answer(self, request: Request) -> str:
        return str((request.messages or [{"content": request.prompt}])[0]["content"])[::-1] or self._nothing()

    def _nothing(self) -> str:
        raise IndexError("empty")


class Stubborn(Sound):
    """Goes on when it is cancelled."""

    async def infer(self, request: Request) -> Completion:
        try:
            await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            return Completion("cancelled")
        return await super().infer(request)


class Fragile(Sound):
    """Does not work any more once it was cancelled."""

    _broken = False

    async def infer(self, request: Request) -> Completion:
        if self._broken:
            raise RuntimeError("broken for good")
        try:
            return await super().infer(request)
        except asyncio.CancelledError:
            self._broken = True
            raise


class Mixing(Sound):
    """Has room for one request only."""

    async def infer(self, request: Request) -> Completion:
        self._current = request
        await asyncio.sleep(0)
        return await super().infer(self._current)


class Silent(Sound):
    """Finds itself well, and has no words for it."""

    async def probe(self) -> str:
        return ""


class Consuming(Sound):
    """Takes parameters out of the request."""

    def answer(self, request: Request) -> str:
        request.parameters.pop("max_tokens", None)  # type: ignore[attr-defined]
        return super().answer(request)


SOUND = {
    "sound": Sample(Sound),
    "plain": Sample(Plain),
    "scripted": Sample(ScriptedWorker, build=lambda: ScriptedWorker(["one two", "three"], {"Hello": "Hi there"})),
}

BROKEN = {
    "WORKER-1": Sample(Endless),
    "WORKER-2": Sample(Torn),
    "WORKER-3": Sample(Other),
    "WORKER-4": Sample(Short),
    "WORKER-5": Sample(Crashing),
    "WORKER-6": Sample(Stubborn),
    "WORKER-7": Sample(Fragile),
    "WORKER-8": Sample(Mixing),
    "WORKER-9": Sample(Consuming),
    "WORKER-10": Sample(Silent),
}
