"""Completion: what a model worker answers, whole or while it comes.

A `Completion` is either whole or live. A live one is a bounded stream: one producer feeds
chunks and waits while its reader lags; one reader iterates, and one that stops early abandons
it, so that the producer never waits for nobody. Whoever wants the whole text awaits `whole()`.
Whoever wants to change it adds a `transform`: from then on neither chunks nor text show the original.

Invariants: a stream that ends without a finish reason has failed and never looks whole; a
completion that is not live does not change any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagflow.chat import merge_tool_calls
from dagflow.errors import RecordError, WorkerError
from dagflow.exchange import Chunk, Usage
from dagflow.live_stream import LIVE_CAPACITY, LiveStream
from dagflow.rewriting import Rewriting, Rewritings, Unchanged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from dagflow.rewriting import Transform


class Completion:
    """A model's answer: whole from the start, or live until its stream ends.

    Attributes:
        finish_reason: `stop`, `length`, `tool_calls` or `content_filter`; None while live.
        model: the model that answered, where known.
        usage: token counts, and what they cost, where known.
        tool_calls: what the model wants to be called, in OpenAI's shape; None for nothing.
        reasoning: what the model said to itself before it answered, where the worker tells.
        worker: the member that answered, where a pool chose one.
        shared: `cache` or `flight`, where the answer was made for another record; None otherwise.
    """

    __slots__ = ("_stream", "_text", "finish_reason", "model", "reasoning", "shared", "tool_calls", "usage", "worker")

    def __init__(
        self,
        text: str = "",
        finish_reason: str | None = "stop",
        model: str | None = None,
        usage: Usage | None = None,
        tool_calls: Sequence[dict[str, Any]] | None = None,
        reasoning: str = "",
        worker: str | None = None,
        shared: str | None = None,
    ) -> None:
        self._text = text
        self._stream: LiveStream | None = None
        self.finish_reason = finish_reason
        self.model = model
        self.usage = usage
        self.tool_calls = None if tool_calls is None else list(tool_calls)
        self.reasoning = reasoning
        self.worker = worker
        self.shared = shared

    @classmethod
    def live(cls, model: str | None = None) -> Completion:
        """Make an empty live completion that a producer will `feed` and `finish`."""
        completion = cls("", None, model)
        completion._stream = LiveStream()
        return completion

    @classmethod
    def of(cls, chunks: Iterable[Chunk]) -> Completion:
        """Make a whole completion of all chunks of a stream."""
        chunks = list(chunks)
        completion = cls("".join([chunk.text for chunk in chunks]), None)
        for chunk in chunks:
            completion._take_on(chunk)
        return completion

    @property
    def text(self) -> str:
        """The whole text; of a live completion, what has been fed so far."""
        stream = self._stream
        if stream is not None and stream.parts:
            self._text += "".join(stream.parts)
            stream.parts.clear()
        return self._text

    @property
    def is_live(self) -> bool:
        """Whether chunks may still come."""
        return self._stream is not None and not self._stream.ended.is_set()

    @property
    def is_read(self) -> bool:
        """Whether somebody is reading its chunks."""
        return self._stream is not None and self._stream.claimed

    @property
    def error(self) -> RecordError | None:
        """Why the stream broke; None if it did not, or not yet."""
        return self._stream.error if self._stream is not None else None

    @property
    def fields(self) -> dict[str, Any]:
        """What transforms gave the record at the end of the stream, for whoever has a copy of it."""
        return {} if self._stream is None else self._stream.fields

    async def feed(self, chunk: Chunk) -> None:
        """Append one chunk; wait while the reader lags too far behind.

        Raises:
            RecordError: a transform does not take it; the stream has ended with that error.
        """
        stream = self._stream
        assert stream is not None, "only a live completion can be fed"
        if len(stream.waiting) >= LIVE_CAPACITY or (stream.abandoned and not len(stream.parts) % LIVE_CAPACITY):
            await stream.wait_for_room()
        if stream.rewriting is None:
            self._append(chunk)
        else:
            if stream.error is None:
                self._rewrite(chunk)
            if stream.error is not None:
                raise stream.error

    def transform(self, text: Transform, reasoning: Transform | None = None) -> None:
        """Change what nobody has read yet, and from now on whatever is fed.

        What a transform holds back goes out at a good end, and never at a bad one. An error of a
        transform ends the stream, and stops the producer at its next chunk.

        Raises:
            RuntimeError: somebody is reading already.
        """
        stream = self._stream
        assert stream is not None, "only a live completion can be transformed"
        broken = stream.error
        buffered = stream.start_over(self._as_chunk())
        added = Rewriting(text, reasoning or Unchanged())
        earlier, stream.rewriting = stream.rewriting, added
        self._text, self.reasoning, self.tool_calls, self.finish_reason = "", "", None, None
        for chunk in buffered:
            if stream.error is broken:
                self._rewrite(chunk)
        if earlier is not None:
            stream.rewriting = Rewritings(earlier, added)

    def _rewrite(self, chunk: Chunk | None = None) -> None:
        """Put a chunk through the transforms, or end them."""
        shown = self._stream.rewrite(chunk)
        if shown is not None:
            self._append(shown)

    def _append(self, chunk: Chunk) -> None:
        self._stream.append(chunk)
        self._take_on(chunk)

    def _take_on(self, chunk: Chunk) -> None:
        """Note what a chunk says beside its text."""
        self.model = chunk.model or self.model
        self.usage = chunk.usage or self.usage
        self.worker = chunk.worker or self.worker
        self.shared = chunk.shared or self.shared
        self.finish_reason = chunk.finish_reason or self.finish_reason
        if chunk.reasoning:
            self.reasoning += chunk.reasoning
        if chunk.tool_calls:
            self.tool_calls = merge_tool_calls(self.tool_calls, chunk.tool_calls)

    def finish(self, error: RecordError | None = None) -> None:
        """End the stream: well if its last chunk had a finish reason, else with an error.

        The first end counts; a later one changes nothing.
        """
        stream = self._stream
        if not self.is_live:
            return
        if error is None and self.finish_reason is None and not (stream.rewriting and stream.rewriting.finishes):
            error = WorkerError("protocol", "the stream ended without a finish reason")
        if error is None and stream.rewriting is not None:
            self._rewrite()
        if self.is_live:  # else the end was too much for a transform
            stream.end(error)

    def abandon(self) -> None:
        """Say that nobody will read the chunks: they are no longer kept, and `feed` no longer waits.

        The text is still gathered, so that `wait_ended`, `text` and `whole` go on to work. Whoever
        is reading gets a `StreamCut`.
        """
        if self._stream is not None:
            self._stream.abandon()

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Iterate over the chunks as they come; a whole completion gives itself as one chunk.

        So does a live one at its end, if its chunks were given to another reader or to nobody.

        Raises:
            RecordError: the stream broke; the chunks before it were given out.
            RuntimeError: somebody else is reading this live completion.
        """
        stream = self._stream
        if stream is None or stream.abandoned:
            await self.wait_ended()
            yield self._as_chunk()
            return
        stream.claim()
        try:
            while await stream.wait_for_chunks():
                while stream.waiting:
                    yield stream.take()
        finally:
            stream.abandon()

    async def batches(self) -> AsyncIterator[list[Chunk]]:
        """Iterate over the chunks as they come, all that have come at a time; else like `chunks`."""
        stream = self._stream
        if stream is None or stream.abandoned:
            await self.wait_ended()
            yield [self._as_chunk()]
            return
        stream.claim()
        try:
            while await stream.wait_for_chunks():
                yield stream.take_all()
        finally:
            stream.abandon()

    async def whole(self) -> Completion:
        """Read a live completion to its end and return it; a whole one at once.

        Raises:
            RecordError: the stream broke.
            RuntimeError: somebody else is reading this live completion.
        """
        if self._stream is not None:
            async for _ in self.chunks():
                pass
        return self

    async def wait_ended(self) -> None:
        """Wait until the stream has ended, without reading it; any number may wait.

        Raises:
            RecordError: the stream broke.
        """
        if self._stream is not None:
            await self._stream.ended.wait()
            if self._stream.error is not None:
                raise self._stream.error

    def with_text(self, text: str, reasoning: str | None = None) -> Completion:
        """Make a whole completion that differs in its text only, and in its reasoning where one is given."""
        told = self.reasoning if reasoning is None else reasoning
        kept = (self.finish_reason, self.model, self.usage, self.tool_calls, told, self.worker, self.shared)
        return Completion(text, *kept)

    def as_dict(self) -> dict[str, Any]:
        """Give the completion as JSON-like values; what does not apply to every answer only where there is some."""
        given = {
            "text": self.text,
            "finish_reason": self.finish_reason,
            "model": self.model,
            "usage": self.usage and self.usage.as_dict(),
        }
        optional = {name: getattr(self, name) for name in ("tool_calls", "reasoning", "worker", "shared")}
        return given | {name: value for name, value in optional.items() if value}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Completion:
        """Make a whole completion of what `as_dict` gave."""
        usage = values.get("usage")
        return cls(**{**values, "usage": usage and Usage(**usage)})

    def _as_chunk(self) -> Chunk:
        # A delta of a tool call says which one it belongs to.
        calls = tuple({"index": index, **call} for index, call in enumerate(self.tool_calls or ()))
        told = (self.finish_reason, self.usage, self.model, calls, self.reasoning, self.worker, self.shared)
        return Chunk(self.text, *told)

    def __repr__(self) -> str:
        return f"Completion({self.text!r}, finish_reason={self.finish_reason!r}, live={self.is_live})"
