"""What a service costs at the least: a bare aiohttp handler that decodes the request and answers the same bytes.

    python benchmarks/bare_service.py

Prints its port on a line, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

import msgspec
from aiohttp import web
from model_server import whole_answer

BODY = whole_answer().split(b"\r\n\r\n", 1)[1]


async def answer(request: web.Request) -> web.Response:
    """Decode and answer."""
    msgspec.json.decode(await request.read())
    return web.Response(body=BODY, content_type="application/json")


async def serve() -> None:
    """Serve until standard input ends."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    with suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(serve())
