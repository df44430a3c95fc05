"""A worker behind guards on a desk: a clock that the test moves, a table as in the file, calls one by one."""

from __future__ import annotations

import time

from dagflow.config.tables import WorkerTable
from dagflow.exchange import Request, Usage
from dagflow.graph.plan import WorkerPlan
from dagflow.inference.call import Call
from dagflow.inference.gate import Gate
from dagflow.inference.guarded import GuardedWorker
from dagflow.inference.leasing import Windows
from dagflow.inference.stack import build_guards
from dagflow.plugin import ModelWorker
from dagflow.record import Record
from dagflow.testing import ManualClock
from dagflow.testing.alone import SILENT


def table(**keys):
    """Validate the keys of a worker's table as they stand in a file."""
    return WorkerTable.model_validate({"type": "echo", **keys}, strict=True)


class Far(ModelWorker):
    """A worker behind a network."""

    remote = True


class Desk:
    """The guards of one worker, and calls that somebody makes."""

    def __init__(self, remote=False, log=SILENT, now_s=1000.0, **keys):
        self.clock = ManualClock(now_s)
        self.prices, self.guards = build_guards(
            "main", table(**keys), Far if remote else ModelWorker, log, Windows("main")
        )
        self.rooms = 0
        self.gate = Gate(self.guards, self.clock, self._on_room)

    def _on_room(self):
        self.rooms += 1

    def guard(self, name):
        """The guard of this name."""
        return next(guard for guard in self.guards if guard.name == name)

    def state(self, name):
        """What can be seen of a guard."""
        return self.guard(name).state(self.clock())

    def call(self, prompt="", priority=0, record=None, **parameters):
        """Make a call, not yet entered."""
        request = Request(prompt=prompt, priority=priority, parameters=parameters, record=record)
        return Call(request, self.clock())

    def enter(self, *arguments, **settings):
        """Make a call and let it in at once; None if it has to wait."""
        call = self.call(*arguments, **settings)
        return call if self.gate.enter_nowait(call) else None

    def end(self, call, error=None, took_s=0.0, retry_after=None, tokens=None):
        """End a call after some time, with an error or with a usage."""
        self.clock.advance(took_s)
        call.error, call.retry_after, call.ended_s = error, retry_after, self.clock()
        if tokens is not None:
            call.usage = Usage(*tokens)
            if self.prices is not None:
                call.usage = self.prices.charge(call.usage)
        self.gate.leave(call)

    def ask(self, error=None, **ending):
        """Make a call that has to be let in, and end it."""
        call = self.enter()
        assert call is not None
        self.end(call, error, **ending)
        return call


def tenant(name):
    """A record of a tenant."""
    return Record({}, meta={"tenant": name})


def guarded(plugin, name="main", members=None, clock=None, **keys):
    """Put a worker behind guards, as the engine does; by default the clock is the real one."""
    plan = WorkerPlan(name, "test", type(plugin), plugin.options, table(**keys), tuple(members or ()))
    return GuardedWorker(plan, plugin, members or {}, clock or time.monotonic, SILENT)
