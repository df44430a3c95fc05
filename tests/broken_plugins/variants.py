"""Other ways to break a rule than those of the other modules, each with the rule that it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from broken_plugins import general, sinks, sources, stages, workers

from dagflow import Chunk, Completion, Record, RecordError, Request, Usage, WorkerError
from dagflow.testing import Sample


class SplittingBadly(stages.Splitting):
    """Puts a plain mapping among its records."""

    def process(self, record: Record) -> Any:
        return [*super().process(record), {"half": "a mapping"}]


class Unstoppable(stages.Live):
    """Yields when it is closed."""

    async def process(self, record: Record) -> AsyncIterator[Record]:
        try:
            yield Record({"completion": Completion("one")})
        finally:
            yield Record({"completion": Completion("two")})


class Untrue(general.Sound):
    """Raises an error whose attributes say nothing."""

    async def process(self, record: Record) -> Record:
        if not isinstance(record.get("input"), str):
            error = RecordError("not a text")
            error.retryable = "perhaps"  # type: ignore[assignment]
            raise error
        return record


class Lingering(stages.Passing):
    """Changes a value after it has returned."""

    async def process(self, record: Record) -> Record:
        tags = record["tags"]
        asyncio.get_running_loop().call_soon(lambda: tags.append("late"))
        return record

    def reads(self) -> set[str]:
        return {"input", "tags"}


class Waiting(general.Sound):
    """Never comes back from `close` when it was not opened."""

    async def close(self) -> None:
        if not self._opened:
            await asyncio.Event().wait()


class Trusting(sinks.Sound):
    """Waits for the end of a live completion, and does not look how it ended."""

    async def write(self, record: Record) -> None:
        await asyncio.sleep(0)
        if isinstance(record.get("completion"), Completion):
            try:
                await record["completion"].whole()
            except RecordError:
                return
        self.put(record)


class Telling(sinks.Sound):
    """Says that it delivered what it has lost."""

    def put(self, record: Record) -> None:
        if record.id != "sample:1":
            super().put(record)


class Short(sources.Sound):
    """Ends, though it is said to be endless."""

    finite = False


class Listed(sources.Sound):
    """Gives a list."""

    def records(self) -> Any:
        return [self.record(0)]


class Wordless(workers.Sound):
    """Answers without a text."""

    async def infer(self, request: Request) -> Completion:
        self.answer(request)
        return Completion(None, "stop", "wordless", Usage(1, 1))  # type: ignore[arg-type]


class Doubled(workers.Sound):
    """Marks every chunk as the last."""

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        text = self.answer(request)
        yield Chunk(text[:3], "stop", Usage(1, 1))
        yield Chunk(text[3:], "stop", Usage(1, 1))


class Silent(workers.Sound):
    """Streams nothing at all."""

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        for chunk in ():
            yield chunk


class Stubborn(workers.Sound):
    """Goes on streaming when it is cancelled."""

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        text = self.answer(request)
        yield Chunk(text[:3])
        try:
            await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            text = text.upper()
        yield Chunk(text[3:], "stop", Usage(1, 1))


class Kindless(workers.Sound):
    """Streams an error of its own where `infer` refuses."""

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        try:
            text = self.answer(request)
        except WorkerError as error:
            raise ConnectionError("no answer") from error
        yield Chunk(text, "stop", Usage(1, 1))


VARIANTS = [
    ("STAGE-1", Sample(SplittingBadly)),
    ("STAGE-9", Sample(Unstoppable)),
    ("STAGE-5", Sample(Untrue)),
    ("STAGE-7", Sample(Lingering, records=[{"input": "one", "tags": ["new"]}])),
    ("PLUGIN-7", Sample(Waiting, patience_s=0.1)),
    ("SINK-12", sinks.sample(Trusting)),
    ("SINK-1", sinks.sample(Telling)),
    ("SOURCE-5", Sample(Short)),
    ("SOURCE-1", Sample(Listed)),
    ("WORKER-1", Sample(Wordless)),
    ("WORKER-2", Sample(Doubled)),
    ("WORKER-2", Sample(Silent)),
    ("WORKER-6", Sample(Stubborn)),
    ("WORKER-5", Sample(Kindless)),
]
