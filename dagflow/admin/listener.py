"""The listener itself: its socket, its bounds, its routes, and the token file beside it."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from dagflow.admin.beacon import Beacon, beacon_path
from dagflow.admin.door import Door
from dagflow.admin.files import page_routes
from dagflow.admin.letters import DeadLetters
from dagflow.admin.overview import Overview
from dagflow.admin.tapping import Tapping
from dagflow.admin.view import EngineView
from dagflow.errors import AdminError
from dagflow.telemetry.logging import default_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiohttp import web

    from dagflow.addresses import Address
    from dagflow.admin.view import View

MOST_CONNECTIONS: Final = 64
MOST_BODY_BYTES: Final = 64 * 1024
IDLE_S: Final = 15.0
"""How long a connection may wait, or take for the head of a request, in seconds."""
_CLOSE_S: Final = 1.0
_BACKLOG: Final = 64


@asynccontextmanager
async def serving(engine: Any, view_of: Callable[[Any], View] = EngineView) -> AsyncIterator[None]:
    """Serve the admin listener of a run while the block lasts, if its plan asks for one.

    Args:
        engine: an engine, or what stands for one.
        view_of: gives what can be seen of it.

    Raises:
        AdminError: it can't listen, or its token can't be written.
    """
    admin = engine.plan.admin
    if admin is None:
        yield
        return
    path = beacon_path(admin, engine.plan.path)
    listening = _bound(admin.listen)
    address = admin.listen.at_port(listening.getsockname()[1])
    beacon = Beacon(f"http://{address}", secrets.token_urlsafe(32), os.getpid())
    log = default_logger(engine.redactor)
    view = view_of(engine)
    app = build_application(beacon.token, log, Overview(view), DeadLetters(view), Tapping(view))
    runner, server = await _started(app, listening)
    try:
        beacon.write(path)
        log.info("admin listener", address=beacon.address, token_file=str(path))
        yield
    finally:
        beacon.remove(path)
        server.close()
        await view.close()
        await runner.cleanup()


def build_application(token: str, log: Any, *parts: Overview | DeadLetters | Tapping) -> web.Application:
    """Put the routes of all parts, and of the page, behind the door."""
    from aiohttp import web

    app = web.Application(client_max_size=MOST_BODY_BYTES)
    Door(token, log).install(app)
    for part in parts:
        app.add_routes(part.routes())
    app.add_routes(page_routes())
    return app


def _bound(address: Address) -> socket.socket:
    """Take the address, before anything of the pipeline is opened."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(place)
            listening.listen(_BACKLOG)
            listening.setblocking(False)
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        remedy = "stop what listens there, or give `[admin]` another `listen`; port 0 takes any that is free"
        raise AdminError(f"the admin listener can't listen at `{address}`: {error.strerror}; {remedy}") from error
    return listening


async def _started(app: web.Application, listening: socket.socket) -> tuple[web.AppRunner, asyncio.Server]:
    from aiohttp import web

    runner = web.AppRunner(
        app, access_log=None, handler_cancellation=True, keepalive_timeout=IDLE_S, shutdown_timeout=_CLOSE_S
    )
    await runner.setup()

    def enter() -> asyncio.Protocol:
        return _Full() if len(runner.server.connections) >= MOST_CONNECTIONS else runner.server()

    return runner, await asyncio.get_running_loop().create_server(enter, sock=listening)


class _Full(asyncio.Protocol):
    """What a connection meets that is one too many."""

    def connection_made(self, transport: Any) -> None:
        transport.abort()
