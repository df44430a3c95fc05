"""Completion, Chunk, Usage and Request: what goes into a model worker and what comes out.

A `Completion` is either whole or live. A live one is a bounded stream: one producer feeds
chunks and waits when its reader lags; one reader iterates. Whoever wants the whole text
awaits `whole()`. A stream that ends without a finish reason has failed; it never looks whole.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dagflow.errors import RecordError, WorkerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

LIVE_CAPACITY: Final = 64  # chunks that a live completion holds before its producer waits


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
        text: the whole text; of a live completion, what has been fed so far.
        finish_reason: `stop`, `length`, `tool_calls` or `content_filter`; None while live.
        model: the model that answered, where known.
        usage: token counts, where known.
    """

    __slots__ = ("_chunks", "_error", "_live", "_reader", "_writer", "finish_reason", "model", "text", "usage")

    def __init__(
        self,
        text: str = "",
        finish_reason: str | None = "stop",
        model: str | None = None,
        usage: Usage | None = None,
    ) -> None:
        self.text = text
        self.finish_reason = finish_reason
        self.model = model
        self.usage = usage
        self._live = False
        self._error: RecordError | None = None

    @classmethod
    def live(cls, model: str | None = None) -> Completion:
        """Make an empty live completion that a producer will `feed` and `finish`."""
        completion = cls("", None, model)
        completion._live = True
        completion._chunks = deque()
        completion._reader = completion._writer = None
        return completion

    @property
    def is_live(self) -> bool:
        """Whether chunks may still come."""
        return self._live

    async def feed(self, chunk: Chunk) -> None:
        """Append one chunk; wait while the reader is `LIVE_CAPACITY` chunks behind."""
        while len(self._chunks) >= LIVE_CAPACITY:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer
        self.text += chunk.text
        self.model = chunk.model or self.model
        self.usage = chunk.usage or self.usage
        self.finish_reason = chunk.finish_reason or self.finish_reason
        self._chunks.append(chunk)
        _wake(self._reader)

    def finish(self, error: RecordError | None = None) -> None:
        """End the stream: well if its last chunk had a finish reason, else with an error."""
        if error is None and self.finish_reason is None:
            error = WorkerError("protocol", "the stream ended without a finish reason")
        self._error = error
        self._live = False
        _wake(self._reader)

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Iterate over the chunks as they come; a whole completion gives itself as one chunk.

        Raises:
            RecordError: the stream broke; the chunks before it were given out.
        """
        if not hasattr(self, "_chunks"):
            yield Chunk(self.text, self.finish_reason, self.usage, self.model)
            return
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                _wake(self._writer)
                yield chunk
            if not self._live:
                break
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        if self._error is not None:
            raise self._error

    async def whole(self) -> Completion:
        """Read a live completion to its end and return it; a whole one at once.

        Raises:
            RecordError: the stream broke.
        """
        async for _ in self.chunks():
            pass
        return self

    def as_dict(self) -> dict[str, Any]:
        """Give the completion as JSON-like values."""
        usage = self.usage and {"input_tokens": self.usage.input_tokens, "output_tokens": self.usage.output_tokens}
        return {"text": self.text, "finish_reason": self.finish_reason, "model": self.model, "usage": usage}

    def __repr__(self) -> str:
        return f"Completion({self.text!r}, finish_reason={self.finish_reason!r}, live={self._live})"


def last_user_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of the last user message; parts of other kinds than text are left out."""
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content") or ""
            if isinstance(content, str):
                return content
            return "".join(part.get("text", "") for part in content if part.get("type") == "text")
    return ""


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
