"""Lifecycle: opening, flushing and closing plugins, so that one bad plugin cannot hang or hide the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio import to_thread

from dagflow.engine.faults import is_interruption
from dagflow.errors import OpenFailed, describe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagflow.engine.node_runner import NodeRunner
    from dagflow.engine.wiring import Roster, Wiring
    from dagflow.plugin import Context, Plugin

# How long a plugin may take to close, in seconds; what hangs longer is left behind with a warning.
CLOSE_TIMEOUT_S: Final = 5.0


async def open_plugins(roster: Roster) -> None:
    """Open all plugins that are the run's own, those first that others need.

    Raises:
        OpenFailed: one of them raised; those after it were not opened.
    """
    for plugin, context in roster.plugins:
        roster.opened += 1
        try:
            if roster.is_own(plugin):
                await plugin.open(context)
        except BaseException as error:
            if is_interruption(error):
                raise
            raise OpenFailed(context.name, error) from error


async def flush_sinks(wiring: Wiring, timeout_s: float) -> list[str]:
    """Flush every sink; returns what went wrong, a line each."""
    faults: list[str] = []

    async def flush(runner: NodeRunner) -> None:
        await runner.plugin.flush()
        runner.position = runner.plugin.position()

    for runner in wiring.nodes.values():
        if runner.plan.kind == "sink":
            await _bounded(lambda runner=runner: flush(runner), "flush", runner.plan.name, timeout_s, faults)
    return faults


async def close_plugins(roster: Roster, log: Any) -> None:
    """Close all plugins that the run opened, nodes before the workers they use, whatever any of them does."""
    faults: list[str] = []

    async def close(plugin: Plugin, context: Context) -> None:
        await _bounded(plugin.close, "close", context.name, CLOSE_TIMEOUT_S, faults)

    opened = roster.plugins[: roster.opened]
    workers = len(roster.workers)
    for group in (opened[workers:], opened[:workers]):
        async with anyio.create_task_group() as tasks:
            for plugin, context in reversed(group):
                if roster.is_own(plugin):
                    tasks.start_soon(close, plugin, context)
    for fault in faults:
        log.warning("plugin did not close", error=fault)


async def close_in_thread(close: Callable[[], None], what: str, log: Any) -> None:
    """Close something that waits in a thread for what it has to send; one that hangs is left behind."""
    with anyio.move_on_after(CLOSE_TIMEOUT_S) as scope:
        try:
            await to_thread.run_sync(close, abandon_on_cancel=True)
        except Exception as error:
            log.warning("did not close", what=what, error=describe(error))
    if scope.cancelled_caught:
        log.warning("did not close", what=what, error=f"it took longer than {CLOSE_TIMEOUT_S:g} s")


async def _bounded(
    work: Callable[[], Awaitable[None]], what: str, name: str, timeout_s: float, faults: list[str]
) -> None:
    with anyio.move_on_after(timeout_s) as scope:
        try:
            await work()
        except BaseException as error:
            if is_interruption(error):
                raise
            faults.append(f"`{name}` failed in `{what}`: {describe(error)}")
    if scope.cancelled_caught:
        faults.append(f"`{name}` did not return from `{what}` within {timeout_s:g} s")
