"""A service in the test's own event loop: a pipeline with a source `api` of type `http`, and a client beside it."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import anyio

from dagflow.compile import compile_text
from dagflow.engine.engine import Engine
from dagflow.testing.alone import SILENT

PLAIN = """
[pipeline]
edges = [{ from = "api", to = "ask" }, { from = "ask", to = "answer" }]
[sources.api]
type = "http"
listen = "127.0.0.1:0"
[stages.ask]
type = "inference"
worker = "main"
[sinks.answer]
type = "reply"
[workers.main]
type = "echo"
"""
"""A chat with `echo`."""

CHAT = {"messages": [{"role": "user", "content": "one two three"}]}


@dataclass
class Reply:
    """What the service answered."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """Status and code of a refusal."""
        return self.status, self.json["error"]["code"]

    @property
    def text(self) -> str:
        """The text of a whole answer."""
        return self.json["choices"][0]["message"]["content"]

    @property
    def events(self) -> list[Any]:
        """The events of a stream; `[DONE]` as it is."""
        lines = self.body.decode().split("\n\n")
        found = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        return [event if event == "[DONE]" else json.loads(event) for event in found]


@dataclass
class Service:
    """A running service, and a client."""

    engine: Engine
    run: asyncio.Task[dict[str, Any]]
    session: aiohttp.ClientSession
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> Any:
        """The source, opened."""
        engine = getattr(self.engine, "engine", self.engine)
        return engine.wiring.sources["api"].plugin

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http{'s' if self.source.options.tls else ''}://{self.source.address}"

    async def ask(self, path: str, body: Any = None, method: str = "POST", **more: Any) -> Reply:
        """Send one request and read its answer to the end; `body` is JSON, or bytes."""
        if isinstance(body, bytes):
            more["data"] = body
        elif body is not None:
            more["json"] = body
        async with self.session.request(method, self.url + path, **more) as response:
            return Reply(response.status, response.headers, await response.read())

    async def chat(self, body: Any = None, **more: Any) -> Reply:
        """Ask for a chat."""
        headers = more.pop("headers", None)
        return await self.ask("/v1/chat/completions", {**CHAT, **(body or {}), **more}, headers=headers)


@asynccontextmanager
async def served(
    text: str = PLAIN, *, log: Any = SILENT, environ: Any = None, session: Any = None, build: Any = Engine
):
    """Run a file as long as the block lasts; a failure to start is raised."""
    engine = build(compile_text(text, environ=environ), log=log)
    run = asyncio.ensure_future(engine.run())
    started = asyncio.ensure_future(engine.started.wait())
    await asyncio.wait([run, started], return_when=asyncio.FIRST_COMPLETED)
    if run.done():
        started.cancel()
        run.result()
    async with session or aiohttp.ClientSession() as client:
        service = Service(engine, run, client)
        try:
            yield service
        finally:
            if not run.done():
                engine.stop("the test is over")
            with anyio.CancelScope(shield=True):
                service.report.update(await run)


async def until(holds, timeout_s: float = 20.0) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.001)
