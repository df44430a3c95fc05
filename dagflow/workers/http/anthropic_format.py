"""Anthropic's dialect: what whole and streamed answers say, as values of dagflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from dagflow.completion import Completion
from dagflow.errors import WorkerError
from dagflow.exchange import Chunk, Usage
from dagflow.workers.http.faults import Fault
from dagflow.workers.http.reading import AnswerReader, decode_answer

if TYPE_CHECKING:
    from dagflow.workers.http.session import Session

_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class _Counts(Struct, gc=False):
    """Token counts; those of the input come without what a cache had."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None

    def over(self, earlier: Usage | None) -> Usage | None:
        """Give the counts, with those of an earlier event where this one is silent, or tells what can't be."""
        counts = self.input_tokens, self.output_tokens, self.cache_read_input_tokens, self.cache_creation_input_tokens
        if any(count is not None and count < 0 for count in counts):
            return earlier
        usage = earlier or Usage()
        output = usage.output_tokens if self.output_tokens is None else self.output_tokens
        if self.input_tokens is None:
            return Usage(usage.input_tokens, output, usage.cached_tokens)
        cached = self.cache_read_input_tokens or 0
        return Usage(self.input_tokens + cached + (self.cache_creation_input_tokens or 0), output, cached)


class _Piece(Struct, gc=False):
    """A block of the content, or the delta of one, or of the message."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Message(Struct, gc=False):
    """A whole answer, or the beginning of a streamed one."""

    content: list[_Piece] | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: _Counts | None = None
    error: Any = None


class _Event(Struct, gc=False):
    type: str | None = None
    message: _Message | None = None
    content_block: _Piece | None = None
    delta: _Piece | None = None
    usage: _Counts | None = None
    error: Any = None


_ANSWERS: Final = msgspec.json.Decoder(_Message)
_EVENTS: Final = msgspec.json.Decoder(_Event)


def read_answer(data: bytes, session: Session) -> Completion:
    """Read a whole answer.

    Raises:
        WorkerError: it is none, or tells of an error.
    """
    answer = decode_answer(_ANSWERS, data, session)
    if answer.error:
        raise session.error_of(Fault.of({"error": answer.error}))
    if answer.content is None or answer.stop_reason is None:
        missing = "content" if answer.content is None else "stop reason"
        raise WorkerError("protocol", f"the answer has no {missing}: `{session.shown(data)}`")
    calls = [_call_of(piece) for piece in answer.content if piece.type == "tool_use"]
    return Completion(
        "".join(piece.text for piece in answer.content if piece.text),
        _REASONS.get(answer.stop_reason, answer.stop_reason),
        answer.model,
        answer.usage and answer.usage.over(None),
        calls or None,
        "".join(piece.thinking for piece in answer.content if piece.thinking),
    )


def _call_of(piece: _Piece) -> dict[str, Any]:
    arguments = msgspec.json.encode(piece.input or {}).decode()
    return {"id": piece.id, "type": "function", "function": {"name": piece.name or "", "arguments": arguments}}


class AnthropicReader(AnswerReader):
    """Reads a stream of message events."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._model: str | None = None
        self._calls = 0
        self._without_arguments = False  # whether the open block is a call of a tool of which no argument has come

    def _take(self, data: bytes, chunks: list[Chunk]) -> None:
        event = decode_answer(_EVENTS, data, self._session)
        kind, delta = event.type, event.delta
        if kind == "content_block_delta" and delta is not None:
            if delta.text:
                chunks.append(Chunk(delta.text, None, None, self._model))
            elif delta.thinking:
                chunks.append(Chunk("", None, None, self._model, (), delta.thinking))
            elif delta.partial_json:
                self._without_arguments = False
                self._add_call(chunks, {"arguments": delta.partial_json})
        elif kind == "content_block_start" and event.content_block is not None:
            self._begin_block(event.content_block, chunks)
        elif kind == "content_block_stop" and self._without_arguments:
            self._without_arguments = False
            self._add_call(chunks, {"arguments": "{}"})
        elif kind == "message_start" and event.message is not None:
            self._model = event.message.model
            self._count(event.message.usage)
        elif kind == "message_delta":
            self._count(event.usage)
            if delta is not None and delta.stop_reason is not None:
                reason = _REASONS.get(delta.stop_reason, delta.stop_reason)
                self._last = Chunk("", reason, None, self._model)
        elif kind == "message_stop":
            self._finish(chunks)
        elif event.error:
            raise self._session.error_of(Fault.of({"error": event.error}))

    def _begin_block(self, block: _Piece, chunks: list[Chunk]) -> None:
        if block.type == "tool_use":
            self._calls += 1
            self._without_arguments = True
            self._add_call(chunks, {"name": block.name or "", "arguments": ""}, {"id": block.id, "type": "function"})
        elif block.text:
            chunks.append(Chunk(block.text, None, None, self._model))

    def _add_call(self, chunks: list[Chunk], function: dict[str, Any], head: dict[str, Any] | None = None) -> None:
        call = {"index": max(0, self._calls - 1), **(head or {}), "function": function}
        chunks.append(Chunk("", None, None, self._model, (call,)))

    def _count(self, counts: _Counts | None) -> None:
        if counts is not None:
            self._usage = counts.over(self._usage)
