"""ScriptedServer: an HTTP server on loopback that answers as a test tells it to, and notes what it saw.

It runs in a thread with an event loop of its own, so that any test can use it. Without a script it is a small model
server that speaks the dialects of OpenAI, vLLM and Anthropic, and answers with what it was asked.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web
from peers.models import answer_as_a_model


class Hold:
    """A part of a body that never comes: the server waits until the client leaves."""


class Cut:
    """A part of a body that never comes: the server breaks the connection."""


HOLD: Final = Hold()
CUT: Final = Cut()


@dataclass(slots=True)
class Seen:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    peer: int

    @property
    def json(self) -> Any:
        """Its body."""
        return json.loads(self.body)


@dataclass(slots=True)
class Reply:
    """What the server answers: a body in parts, between which it may wait for seconds or an event, hold or cut."""

    parts: Sequence[bytes | float | threading.Event | Hold | Cut] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0


def json_reply(value: Any, status: int = 200, **headers: str) -> Reply:
    """Answer with a JSON value; names of headers have `_` for `-`."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply([json.dumps(value).encode()], status, {"Content-Type": "application/json", **named})


def events(*values: Any, done: bool = True) -> Reply:
    """Answer with a stream of events, each JSON, bytes as they are, seconds, `HOLD` or `CUT`."""
    parts = [b"data: " + json.dumps(v).encode() + b"\n\n" if isinstance(v, dict) else v for v in values]
    return Reply([*parts, *([b"data: [DONE]\n\n"] if done else [])], 200, {"Content-Type": "text/event-stream"})


def delta(text: str | None = None, finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    """Make an event of a chat completion."""
    content = {} if text is None else {"content": text}
    return {"model": "tiny", "choices": [{"index": 0, "delta": {**content, **more}, "finish_reason": finish_reason}]}


class ScriptedServer:
    """Serves while its block lasts.

    Attributes:
        url: without a slash at the end.
        requests: all that came.
        script: the replies to come, each a `Reply` or a function of the request; with none left, it is a model.
        always: replies by path, which come before the script, again and again.
        left: for each request whose client left before its answer was complete, when it did so (`time.monotonic`).
    """

    def __init__(self, tls: Any = None) -> None:
        self.requests: list[Seen] = []
        self.times: list[float] = []
        self.script: deque[Reply | Callable[[Seen], Reply]] = deque()
        self.always: dict[str, Reply] = {}
        self.left: list[float] = []
        self.url = ""
        self._tls = tls
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    def will(self, *replies: Reply | Callable[[Seen], Reply]) -> None:
        """Append replies to the script."""
        self.script.extend(replies)

    async def wait_for(self, condition: Callable[[ScriptedServer], Any], within_s: float = 5.0) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(within_s):
            while not condition(self):
                await asyncio.sleep(0.001)

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = web.Server(self._answer, handler_cancellation=True)
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http{'s' if self._tls else ''}://{host}:{port}"
        self._ready.set()
        await self._stopping.wait()
        await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        peer = request.transport.get_extra_info("peername")[1]
        seen = Seen(request.method, request.path_qs, dict(request.headers), await request.content.read(), peer)
        reply = self.always.get(seen.path) or (self.script.popleft() if self.script else answer_as_a_model)
        self.requests.append(seen)
        self.times.append(time.monotonic())
        reply = reply(seen) if callable(reply) else reply
        try:
            return await self._send(request, reply)
        except (asyncio.CancelledError, ConnectionError):
            self.left.append(time.monotonic())
            raise

    async def _send(self, request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        await asyncio.sleep(reply.delay_s)
        if HOLD in reply.parts[:1]:  # not even headers
            await asyncio.Event().wait()
        response = web.StreamResponse(status=reply.status, headers=reply.headers)
        if all(isinstance(part, bytes) for part in reply.parts) and "Content-Length" not in reply.headers:
            response.content_length = sum(map(len, reply.parts)) if len(reply.parts) == 1 else None
        if CUT in reply.parts[:1]:
            request.transport.abort()
            return response
        await response.prepare(request)
        for part in reply.parts:
            if part is CUT:
                request.transport.close()
                return response
            if part is HOLD:
                await asyncio.Event().wait()
            elif isinstance(part, float):
                await asyncio.sleep(part)
            elif isinstance(part, threading.Event):
                await asyncio.to_thread(part.wait)
            else:
                await response.write(part)
        await response.write_eof()
        return response
