"""Events: a streamed answer, as server-sent events.

Nothing is sent before the first chunk, so that an early error has its own status; only a long silence ends that
wait. A slow reader slows the model's server down. What breaks in mid-stream is told as an event, and never looks like a
good end.
"""

from __future__ import annotations

import asyncio
from time import time
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from dagflow.openai_shapes import build_usage
from dagflow.sources.http.answers import WITHOUT_MODEL
from dagflow.sources.http.responses import SERVER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dagflow.exchange import Chunk, Usage
    from dagflow.sources.http.refusals import Refusal

PING: Final = b": ping\n\n"
DONE: Final = b"data: [DONE]\n\n"
HEADERS: Final = {
    "Server": SERVER,
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
_encode = msgspec.json.encode


class EventStream:
    """The response of one streamed answer: begun at the first event, or by the first ping.

    Attributes:
        begun: whether its status has been sent.
        headers: those that go out with it.
    """

    def __init__(self, request: web.BaseRequest, headers: Mapping[str, str], ping_s: float) -> None:
        self.begun = False
        self.headers = {**HEADERS, **headers}
        self._request = request
        self._response: web.StreamResponse | None = None
        self._ping_s = ping_s
        self._loop = asyncio.get_running_loop()
        self._last_s = self._loop.time()
        self._is_writing = False
        self._pinging: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(ping_s, self._tick)

    async def send(self, data: bytes) -> None:
        """Send events; wait while the reader lags."""
        if not self.begun:
            await self._begin()
        self._is_writing = True
        try:
            await self._response.write(data)
        finally:
            self._is_writing = False
            self._last_s = self._loop.time()

    async def end(self) -> web.StreamResponse:
        """End the body; no ping may come behind that."""
        self.close()
        await self._response.write_eof()
        return self._response

    def close(self) -> None:
        """Stop looking after it, whatever happened."""
        self._timer.cancel()
        if self._pinging is not None:
            self._pinging.cancel()

    async def _begin(self) -> None:
        self.begun = True
        self._response = web.StreamResponse(headers=self.headers)
        await self._response.prepare(self._request)

    def _tick(self) -> None:
        if not self._is_writing and self._loop.time() - self._last_s >= self._ping_s:
            self._pinging = asyncio.ensure_future(self._ping())
        self._timer = self._loop.call_later(self._ping_s / 4, self._tick)

    async def _ping(self) -> None:
        try:
            await self.send(PING)
        except (ConnectionError, RuntimeError):  # its reader has left; whoever sends next finds out
            return


class Framing:
    """Chunks as events of one endpoint.

    Args:
        id: of the answer, the same in all events.
        model: the name that was asked for; that of the first chunk counts.
    """

    def __init__(self, chat: bool, id: str, model: str | None, with_usage: bool) -> None:
        self._build: Callable[[Chunk, bool], dict[str, Any]] = _chat_choice if chat else _text_choice
        self._head = {
            "id": f"chatcmpl-{id}" if chat else f"cmpl-{id}",
            "object": "chat.completion.chunk" if chat else "text_completion",
            "created": int(time()),
            "model": model or WITHOUT_MODEL,
        }
        self._chat = chat
        self._with_usage = with_usage
        self._usage: Usage | None = None
        self._before = self._after = b""

    def frame(self, chunks: list[Chunk]) -> bytes:
        """Give the events of some chunks."""
        return b"".join([self._event(chunk) for chunk in chunks])

    def end(self) -> bytes:
        """Give the events of a good end."""
        if not self._with_usage:
            return DONE
        usage = build_usage(self._usage) or {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        return _data({**self._head, "choices": [], "usage": usage}) + DONE

    def break_off(self, refusal: Refusal) -> bytes:
        """Give the events of a bad end."""
        return b"data: " + refusal.body + b"\n\n" + DONE

    def _event(self, chunk: Chunk) -> bytes:
        if chunk.usage is not None:
            self._usage = chunk.usage
        first = not self._before
        if first:
            self._begin(chunk)
        elif not (chunk.finish_reason or chunk.tool_calls or chunk.reasoning):
            return self._before + _encode(chunk.text) + self._after if chunk.text else b""
        return _data({**self._head, "choices": [self._build(chunk, first)]})

    def _begin(self, chunk: Chunk) -> None:
        """Note the answer's model, and what stands around the text of a plain chunk: most are."""
        self._head["model"] = chunk.model or self._head["model"]
        mark = "\u0001text\u0001"
        told = {"delta": {"content": mark}} if self._chat else {"text": mark, "logprobs": None}
        plain = _data({**self._head, "choices": [{"index": 0, **told, "finish_reason": None}]})
        self._before, _, self._after = plain.rpartition(_encode(mark))  # a model may have that name


def _data(value: dict[str, Any]) -> bytes:
    return b"data: " + _encode(value) + b"\n\n"


def _chat_choice(chunk: Chunk, first: bool) -> dict[str, Any]:
    delta: dict[str, Any] = {"role": "assistant", "content": chunk.text} if first else {}
    if chunk.text:
        delta["content"] = chunk.text
    if chunk.reasoning:
        delta["reasoning_content"] = chunk.reasoning
    if chunk.tool_calls:
        delta["tool_calls"] = chunk.tool_calls
    return {"index": 0, "delta": delta, "finish_reason": chunk.finish_reason}


def _text_choice(chunk: Chunk, first: bool) -> dict[str, Any]:
    return {"index": 0, "text": chunk.text, "logprobs": None, "finish_reason": chunk.finish_reason}
