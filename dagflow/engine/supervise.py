"""Supervise: an engine in a process of its own, with signals and an onlooker.

The first SIGINT or SIGTERM drains, the second cancels. SIGHUP has the file read again where that is provided for,
unless it says that the terminal is gone, which drains. An onlooker never harms the run.
"""

from __future__ import annotations

import gc
import os
import signal
from contextlib import asynccontextmanager
from importlib.util import find_spec
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Any, Final

import anyio

from dagflow.engine.engine import Engine
from dagflow.engine.reloading import Reloading
from dagflow.errors import describe
from dagflow.redaction import Redactor
from dagflow.telemetry.logging import configure_logging, default_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from dagflow.graph.plan import Plan

    Onlooker = Callable[[Engine], Awaitable[None]]
    Company = Callable[[Engine], AbstractAsyncContextManager[None]]
    Load = Callable[[], Plan]

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


_COLLECT_AFTER: Final = (
    10_000,
    20,
    20,
)  # objects: what a record leaves dies with it, so that there is little to collect


def settle_memory() -> None:
    """Spare the collector what was imported, which lives until the end, and let it look more seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


@asynccontextmanager
async def alone(_engine: Engine) -> AsyncIterator[None]:
    """Give an engine no company."""
    yield


def run_blocking(
    plan: Plan,
    onlooker: Onlooker | None = None,
    build: Callable[[Plan], Engine] = Engine,
    company: Company = alone,
    load: Load | None = None,
) -> dict[str, Any]:
    """Run a plan to its end on an event loop of its own and give the report.

    Args:
        onlooker: runs beside the engine and is cancelled when that ends.
        build: makes the engine.
        company: what is entered before the engine opens anything, and left after it has closed everything.
        load: compiles what the file says at that time, for SIGHUP; the engine can be given another plan then.

    Raises:
        OpenFailed: a plugin could not be opened.
    """
    options = {"use_uvloop": find_spec("uvloop") is not None}
    return anyio.run(run_supervised, plan, onlooker, build, company, load, backend_options=options)


async def run_supervised(
    plan: Plan,
    onlooker: Onlooker | None = None,
    build: Callable[[Plan], Engine] = Engine,
    company: Company = alone,
    load: Load | None = None,
) -> dict[str, Any]:
    """Run a plan on this event loop; in the main thread, with signals handled."""
    engine = build(plan)
    report: dict[str, Any] = {}
    failure: Exception | None = None
    async with anyio.create_task_group() as beside:
        reloading = None if load is None else Reloading(engine, load, _log_as, default_logger(Redactor.of(plan)))
        if reloading is not None:
            beside.start_soon(reloading.run)
        if current_thread() is main_thread():  # no other thread gets signals
            beside.start_soon(_handle_signals, engine, reloading)
        if onlooker is not None:
            beside.start_soon(_look_on, onlooker, engine)
        try:
            async with company(engine):
                report = await engine.run()
        except Exception as error:  # unwrapped below: a task group would wrap it
            failure = error
        beside.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return report


def _log_as(plan: Plan) -> None:
    """Log as another plan says, and spare the collector what came with it."""
    configure_logging(plan.logging, Redactor.of(plan))


async def _handle_signals(engine: Engine, reloading: Reloading | None) -> None:
    had_terminal, outlives_it = has_terminal(), signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # as `nohup` has it
    hangup = () if reloading is None else (signal.SIGHUP,)
    with anyio.open_signal_receiver(*SIGNALS, *hangup) as signals:
        async for number in signals:
            name = signal.Signals(number).name
            lost_terminal = had_terminal and not has_terminal()
            had_terminal = had_terminal and not lost_terminal
            if reloading is not None and number == signal.SIGHUP and (outlives_it or not lost_terminal):
                if not lost_terminal:
                    reloading.ask()
            elif engine.stopped_by is None:
                engine.stop(name)
            else:
                engine.force(name, exit_code=128 + number)
                return  # a third one does what it does to any program


def has_terminal() -> bool:
    """Whether this program belongs to a terminal that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


async def _look_on(onlooker: Onlooker, engine: Engine) -> None:
    """Let somebody watch: what goes wrong in watching is no matter of the run."""
    try:
        await onlooker(engine)
    except Exception as error:
        default_logger(Redactor()).warning("the display stopped", error=describe(error))
