"""Child: one of several processes of a pipeline. It is started by the parent alone, with the link as its descriptor."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from dagflow.compile import compile_text
from dagflow.engine.engine import Engine
from dagflow.engine.succession import Succession
from dagflow.engine.supervise import settle_memory
from dagflow.errors import DagflowError
from dagflow.processes.desk import Desk
from dagflow.processes.dividing import divide, far_sinks, far_sources, keeps_sessions
from dagflow.processes.far_checkpoint import FarCheckpoint
from dagflow.processes.far_sink import FarSink
from dagflow.processes.far_source import FarSource
from dagflow.redaction import Redactor
from dagflow.shares import Share
from dagflow.telemetry.logging import configure_logging, default_logger

if TYPE_CHECKING:
    from dagflow.graph.plan import Plan
    from dagflow.processes.messages import Begin, Next


def run_child(descriptor: int) -> None:
    """Run a child to its end."""
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
    ):  # terminals and supervisors send it to all; the parent decides
        signal.signal(number, signal.SIG_IGN)
    options = {"use_uvloop": find_spec("uvloop") is not None}
    anyio.run(_run, socket.socket(fileno=descriptor), backend_options=options)


async def _run(sock: socket.socket) -> None:
    desk = Desk()
    begin = await desk.open(sock)
    try:
        if begin.core is not None:
            os.sched_setaffinity(0, {begin.core})
        child = Child(desk, begin)
        plan = child.compile(begin)
        configure_logging(plan.logging, Redactor.of(plan))
        run = Succession(plan, child.build)
        run.on_replaced.append(lambda: configure_logging(run.plan.logging, run.redactor))
        settle_memory()
        desk.attend(run, child.compile)
        await run.run()
        desk.tell(is_last=True)
    except DagflowError as error:
        desk.fail(error)
    desk.link.close()
    await desk.gone.wait()
    if desk.is_abandoned:
        shutil.rmtree(begin.folder, ignore_errors=True)


class Child:
    """What one process runs."""

    def __init__(self, desk: Desk, begin: Begin) -> None:
        self._desk = desk
        self._begin = begin
        self._folder = Path(begin.folder)

    def compile(self, told: Begin | Next) -> Plan:
        """Give what this process has of the plan that the parent tells of."""
        plan = compile_text(told.text, None if told.path is None else Path(told.path), told.overrides)
        self._share = Share(self._begin.index, self._begin.count, keeps_sessions(plan), self._folder)
        return divide(plan, self._share, told.ports, _stand_ins(plan, self._desk))

    def build(self, plan: Plan, before: Engine | None) -> Engine:
        """Build the engine of a plan, which is to take the place of another one if there is one."""
        return Engine(
            plan,
            log=default_logger(Redactor.of(plan)).bind(process=self._begin.index),
            resumes=self._begin.resumes,
            checkpoint=FarCheckpoint(self._desk, self._begin, plan.runtime.max_redeliveries),
            share=self._share,
            before=before,
        )


def _stand_ins(plan: Plan, desk: Desk) -> dict[str, Any]:
    sinks = {name: partial(FarSink, cls=plan.nodes[name].cls, desk=desk) for name in far_sinks(plan)}
    sources = {name: partial(FarSource, cls=plan.nodes[name].cls, name=name, desk=desk) for name in far_sources(plan)}
    return {**sinks, **sources}
