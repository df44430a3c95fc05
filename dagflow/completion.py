"""Completion, Chunk, Usage and Request: what goes into a model worker and what comes out.

A `Completion` is either whole or live. A live one is a bounded stream: one producer feeds
chunks and waits while its reader lags; one reader iterates, and one that stops early abandons
it, so that the producer never waits for nobody. Whoever wants the whole text awaits `whole()`.

Invariants: a stream that ends without a finish reason has failed and never looks whole; a
completion that is not live does not change any more.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dagflow.chat import last_user_text
from dagflow.errors import RecordError, WorkerError
from dagflow.live_stream import LiveStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one call."""

    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of a streamed completion; the last one carries `finish_reason` and `usage`."""

    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str | None = None


@dataclass(slots=True)
class Request:
    """What a worker is asked.

    Attributes:
        messages: a chat in OpenAI's shape (`role`, `content`), or None where `prompt` is set.
        prompt: bare text, or None.
        model: the model that the caller asked for, or None for the worker's own.
        parameters: sampling parameters in OpenAI's names (`temperature`, `max_tokens`, ...).
        session: the record's session, for affinity.
        deadline: the point on the pipeline's clock, in seconds, when an answer becomes useless.
        metadata: names for logs and traces (`id`, `node`); never secrets.
    """

    messages: Sequence[Mapping[str, Any]] | None = None
    prompt: str | None = None
    model: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    session: str | None = None
    deadline: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The prompt, or the text of the last user message."""
        return self.prompt if self.prompt is not None else last_user_text(self.messages or ())


class Completion:
    """A model's answer: whole from the start, or live until its stream ends.

    Attributes:
        finish_reason: `stop`, `length`, `tool_calls` or `content_filter`; None while live.
        model: the model that answered, where known.
        usage: token counts, where known.
    """

    __slots__ = ("_stream", "_text", "finish_reason", "model", "usage")

    def __init__(
        self,
        text: str = "",
        finish_reason: str | None = "stop",
        model: str | None = None,
        usage: Usage | None = None,
    ) -> None:
        self._text = text
        self._stream: LiveStream | None = None
        self.finish_reason = finish_reason
        self.model = model
        self.usage = usage

    @classmethod
    def live(cls, model: str | None = None) -> Completion:
        """Make an empty live completion that a producer will `feed` and `finish`."""
        completion = cls("", None, model)
        completion._stream = LiveStream()
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

    async def feed(self, chunk: Chunk) -> None:
        """Append one chunk; wait while the reader lags too far behind."""
        stream = self._stream
        assert stream is not None, "only a live completion can be fed"
        await stream.wait_for_room()
        stream.append(chunk)
        self.model = chunk.model or self.model
        self.usage = chunk.usage or self.usage
        self.finish_reason = chunk.finish_reason or self.finish_reason

    def finish(self, error: RecordError | None = None) -> None:
        """End the stream: well if its last chunk had a finish reason, else with an error.

        The first end counts; a later one changes nothing.
        """
        if self.is_live:
            if error is None and self.finish_reason is None:
                error = WorkerError("protocol", "the stream ended without a finish reason")
            self._stream.end(error)

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
            yield Chunk(self.text, self.finish_reason, self.usage, self.model)
            return
        stream.claim()
        try:
            while (chunk := await stream.take()) is not None:
                yield chunk
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

    def with_text(self, text: str) -> Completion:
        """Make a whole completion that differs in its text only."""
        return Completion(text, self.finish_reason, self.model, self.usage)

    def as_dict(self) -> dict[str, Any]:
        """Give the completion as JSON-like values."""
        usage = self.usage and {"input_tokens": self.usage.input_tokens, "output_tokens": self.usage.output_tokens}
        return {"text": self.text, "finish_reason": self.finish_reason, "model": self.model, "usage": usage}

    def __repr__(self) -> str:
        return f"Completion({self.text!r}, finish_reason={self.finish_reason!r}, live={self.is_live})"


def abandon_live(values: Iterable[Any]) -> None:
    """Say of every live completion among the values that nobody will read its chunks; what has ended stays readable."""
    for value in values:
        if isinstance(value, Completion) and value.is_live:
            value.abandon()


def abandon_dropped(before: Iterable[Any], after: Iterable[Any]) -> None:
    """Abandon the live completions of `before` that `after` lacks, but for those that somebody is reading."""
    kept = {id(value) for value in after}
    for value in before:
        if isinstance(value, Completion) and value.is_live and not value.is_read and id(value) not in kept:
            value.abandon()


async def await_live(values: Iterable[Any]) -> None:
    """Wait until no completion among the values is live; none of their chunks is for anybody."""
    for value in values:
        if isinstance(value, Completion) and value.is_live:
            value.abandon()
            with suppress(RecordError):  # it stands in the completion, for whoever looks
                await value.wait_ended()
