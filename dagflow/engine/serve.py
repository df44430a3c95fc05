"""Serve: a worker of a plan as a server of its own, until a signal ends it."""

from __future__ import annotations

import asyncio
import signal
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

import anyio

from dagflow.engine.lifecycle import close_plugins, open_plugins
from dagflow.engine.stores import build_leasing, open_leasing
from dagflow.engine.wirer import Wirer
from dagflow.redaction import Redactor
from dagflow.remote.server import Security, WorkerServer
from dagflow.tasks import end
from dagflow.telemetry.logging import default_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagflow.graph.plan import Plan

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve_blocking(
    plan: Plan,
    worker: str,
    address: str,
    security: Security,
    max_waiting: int,
    drain_timeout_s: float,
    on_ready: Callable[[int], None],
) -> bool:
    """Serve a worker of a plan until SIGINT or SIGTERM, then drain; a second signal ends at once.

    Args:
        on_ready: called with the port once calls are welcome.

    Returns:
        Whether every call was finished.

    Raises:
        OpenFailed: a worker could not be opened.
        OSError: the address can't be listened at.
    """

    async def serve() -> bool:
        redactor = Redactor.of(plan)
        log = default_logger(redactor)
        leasing = build_leasing(plan, time.monotonic, log)
        with redactor.scrubbing():
            wiring = Wirer(plan, time.monotonic, log, redactor, leasing=leasing).wire_workers()
        server = WorkerServer(wiring.workers[worker], security, max_waiting, time.monotonic, log, redactor)
        try:
            if leasing is not None:
                await open_leasing(leasing)
            with redactor.scrubbing():
                await open_plugins(wiring)
            port = await server.start(address)
            with anyio.open_signal_receiver(*SIGNALS) as signals:  # before anybody is told, who might send one
                on_ready(port)
                await anext(signals)
                draining = asyncio.ensure_future(server.drain(drain_timeout_s))
                impatient = asyncio.ensure_future(anext(signals))
                await asyncio.wait([draining, impatient], return_when=asyncio.FIRST_COMPLETED)
                impatient.cancel()
                await end(draining)
                return not draining.cancelled() and draining.result()
        finally:
            with anyio.CancelScope(shield=True):
                await server.close()
                await close_plugins(wiring, log)
                if leasing is not None:
                    await leasing.close()

    return anyio.run(serve, backend_options={"use_uvloop": find_spec("uvloop") is not None})
