"""OpenAI's dialect: what whole and streamed answers say, as values of dagflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from dagflow.chat import text_of
from dagflow.completion import Completion
from dagflow.errors import WorkerError
from dagflow.exchange import Chunk, Usage
from dagflow.workers.http.faults import Fault
from dagflow.workers.http.reading import AnswerReader, decode_answer

if TYPE_CHECKING:
    from dagflow.workers.http.session import Session


class _Details(Struct, gc=False):
    cached_tokens: int | None = None


class _Counts(Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None

    def as_usage(self) -> Usage | None:
        """Give the counts; None where they can't be, which would give money back to budgets."""
        cached = self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details else None
        counts = self.prompt_tokens or 0, self.completion_tokens or 0, cached or 0
        return Usage(*counts) if min(counts) >= 0 else None


class _Message(Struct, gc=False):
    """A message, or the delta of one."""

    content: str | list[Any] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class _Choice(Struct, gc=False):
    message: _Message | None = None
    delta: _Message | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Answer(Struct, gc=False):
    """A whole answer, or an event of a streamed one."""

    choices: list[_Choice] | None = None
    usage: _Counts | None = None
    model: str | None = None
    error: Any = None


_DECODER = msgspec.json.Decoder(_Answer)


def read_answer(data: bytes, session: Session) -> Completion:
    """Read a whole answer.

    Raises:
        WorkerError: it is none, or tells of an error.
    """
    answer = decode_answer(_DECODER, data, session)
    if answer.error:
        raise session.error_of(Fault.of({"error": answer.error}))
    if not answer.choices:
        raise WorkerError("protocol", f"the answer has no choices: `{session.shown(data)}`")
    choice = answer.choices[0]
    message = choice.message or _Message(choice.text)
    if not choice.finish_reason and not message.refusal:
        raise WorkerError("protocol", f"the answer has no finish reason: `{session.shown(data)}`")
    usage = answer.usage and answer.usage.as_usage()
    calls = [_call_of(call) for call in message.tool_calls] if message.tool_calls else None
    text, reasoning = _content_of(message), message.reasoning_content or message.reasoning or ""
    if message.refusal:
        return Completion(text + message.refusal, "content_filter", answer.model, usage, calls, reasoning)
    return Completion(text, choice.finish_reason, answer.model, usage, calls, reasoning)


class OpenAIReader(AnswerReader):
    """Reads a stream of chat or text completion chunks."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._refused = False

    def _take(self, data: bytes, chunks: list[Chunk]) -> None:
        if data == b"[DONE]":
            self._finish(chunks)
            return
        event = decode_answer(_DECODER, data, self._session)
        if event.error:
            raise self._session.error_of(Fault.of({"error": event.error}))
        if event.usage is not None:
            self._usage = event.usage.as_usage()
        if event.choices:
            choice = event.choices[0]
            delta = choice.delta
            if self._last is not None:
                self._give_text_of_last(chunks)
            # Nearly all events are like this: some text, and nothing else.
            if (
                delta is not None
                and type(delta.content) is str
                and not choice.finish_reason
                and delta.tool_calls is delta.reasoning is delta.reasoning_content is delta.refusal is None
            ):
                if delta.content:
                    chunks.append(Chunk(delta.content, None, None, event.model))
                return
            self._take_rare(choice, event.model, chunks)
        elif self._last is not None and self._usage is not None:
            self._finish(chunks)

    def _give_text_of_last(self, chunks: list[Chunk]) -> None:
        """Give what the held-back chunk says, since more comes: some servers give each chunk a finish reason."""
        last = self._last
        if last.text or last.tool_calls or last.reasoning:
            chunks.append(Chunk(last.text, None, None, last.model, last.tool_calls, last.reasoning))
            self._last = Chunk("", last.finish_reason, None, last.model)

    def _take_rare(self, choice: _Choice, model: str | None, chunks: list[Chunk]) -> None:
        delta = choice.delta or _Message(choice.text)
        text = _content_of(delta)
        if delta.refusal:
            text, self._refused = text + delta.refusal, True
        calls = tuple(map(_call_of, delta.tool_calls)) if delta.tool_calls else ()
        reasoning = delta.reasoning_content or delta.reasoning or ""
        if choice.finish_reason:
            reason = "content_filter" if self._refused else choice.finish_reason
            self._last = Chunk(text, reason, None, model, calls, reasoning)
        elif text or calls or reasoning:
            chunks.append(Chunk(text, None, None, model, calls, reasoning))


def _content_of(message: _Message) -> str:
    content = message.content
    if not isinstance(content, list):
        return content or ""
    return text_of({"content": [p for p in content if isinstance(p, dict) and isinstance(p.get("text"), str)]})


def _call_of(call: dict[str, Any]) -> dict[str, Any]:
    """Give a tool call, or its delta, as it should be: an `index` only if it is one, and texts in `function`."""
    index, function = call.get("index"), call.get("function")
    if not (index is None or type(index) is int) or (index is None and "index" in call):
        call = {name: value for name, value in call.items() if name != "index"}
    if not isinstance(function, dict):
        return {**call, "function": {}}
    if all(isinstance(function.get(name), str | None) for name in ("name", "arguments")):
        return call
    arguments = msgspec.json.encode(function.get("arguments")).decode()
    return {**call, "function": {**function, "name": str(function.get("name") or ""), "arguments": arguments}}
