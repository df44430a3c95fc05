"""Probe: tries each worker of a plan by itself, all at the same time, and within a time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from dagflow.engine.faults import is_interruption
from dagflow.engine.lifecycle import close_plugins
from dagflow.engine.wirer import Wirer
from dagflow.errors import describe
from dagflow.redaction import Redactor
from dagflow.telemetry.logging import default_logger

if TYPE_CHECKING:
    from dagflow.engine.wiring import Wiring
    from dagflow.graph.plan import Plan


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe of one worker came to.

    Attributes:
        text: what was found, or what is wrong; without secrets.
    """

    worker: str
    works: bool
    text: str


async def probe_workers(plan: Plan, timeout_s: float) -> list[Finding]:
    """Open, probe and close each worker; what takes longer than `timeout_s` does not work.

    Raises:
        OpenFailed: a worker could not even be constructed.
    """
    redactor = Redactor.of(plan)
    log = default_logger(redactor)
    with redactor.scrubbing():
        wiring = Wirer(plan, time.monotonic, log, redactor).wire_workers()
    found: dict[str, Finding] = {}

    async def probe(name: str) -> None:
        with anyio.move_on_after(timeout_s) as scope:
            found[name] = await _probed(wiring, name, redactor)
        if scope.cancelled_caught:
            found[name] = Finding(name, False, f"it did not answer within {timeout_s:g} s")

    try:
        async with anyio.create_task_group() as tasks:
            for name in wiring.workers:
                tasks.start_soon(probe, name)
    finally:
        wiring.opened = len(wiring.plugins)
        with anyio.CancelScope(shield=True):
            await close_plugins(wiring, log)
    return [found[name] for name in wiring.workers]


async def _probed(wiring: Wiring, name: str, redactor: Redactor) -> Finding:
    worker = wiring.workers[name]
    context = next(context for _, context in wiring.plugins if context.name == name)
    try:
        await worker.plugin.open(context)
        return Finding(name, True, await worker.probe())
    except BaseException as error:
        if is_interruption(error):
            raise
        return Finding(name, False, redactor.redact(describe(error)))
