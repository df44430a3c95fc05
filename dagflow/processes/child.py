"""Child: one of several processes of a pipeline. It is started by the parent alone, with the link as its descriptor."""

from __future__ import annotations

import os
import signal
import socket
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from dagflow.compile import compile_text
from dagflow.engine.engine import Engine
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
    from dagflow.processes.messages import Begin


def run_child(descriptor: int) -> None:
    """Run a child to its end."""
    for number in (signal.SIGINT, signal.SIGTERM):  # terminals and supervisors send it to all; the parent decides
        signal.signal(number, signal.SIG_IGN)
    options = {"use_uvloop": find_spec("uvloop") is not None}
    anyio.run(_run, socket.socket(fileno=descriptor), backend_options=options)


async def _run(sock: socket.socket) -> None:
    desk = Desk()
    begin = await desk.open(sock)
    try:
        engine = _engine(desk, begin)
        desk.attend(engine)
        await engine.run()
        desk.tell(is_last=True)
    except DagflowError as error:
        desk.fail(error)
    desk.link.close()
    await desk.gone.wait()


def _engine(desk: Desk, begin: Begin) -> Engine:
    if begin.core is not None:
        os.sched_setaffinity(0, {begin.core})
    plan = compile_text(begin.text, None if begin.path is None else Path(begin.path), begin.overrides)
    redactor = Redactor.of(plan)
    configure_logging(plan.logging, redactor)
    settle_memory()
    share = Share(begin.index, begin.count, keeps_sessions(plan), Path(begin.folder))
    return Engine(
        divide(plan, share, begin.ports, _stand_ins(plan, desk)),
        log=default_logger(redactor).bind(process=begin.index),
        resumes=begin.resumes,
        checkpoint=FarCheckpoint(desk, begin, plan.runtime.max_redeliveries),
        share=share,
    )


def _stand_ins(plan: Plan, desk: Desk) -> dict[str, Any]:
    sinks = {name: partial(FarSink, cls=plan.nodes[name].cls, desk=desk) for name in far_sinks(plan)}
    sources = {name: partial(FarSource, cls=plan.nodes[name].cls, name=name, desk=desk) for name in far_sources(plan)}
    return {**sinks, **sources}
