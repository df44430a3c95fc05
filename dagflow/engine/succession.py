"""Succession: a run whose plan may be replaced by another one while records flow. It looks like an `Engine`.

    check the new plan -> open it beside the one that runs -> it takes over -> the old one drains

Until the new one takes over nothing has changed, and what goes wrong before that ends the new one only.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from dagflow.engine.engine import Engine
from dagflow.engine.merging import as_past, merge_families, merge_latencies, merge_reports, merge_standings
from dagflow.engine.standing import Standing, read_standing, read_status
from dagflow.errors import NotReplaced, describe
from dagflow.graph.cutting import cut_plan
from dagflow.graph.replacing import find_hindrances

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from dagflow.graph.plan import Plan
    from dagflow.redaction import Redactor
    from dagflow.telemetry.families import Family

    Build = Callable[[Plan, Engine | None], Engine]


def build_engine(plan: Plan, before: Engine | None) -> Engine:
    """Make the engine of a plan, which is to take the place of another one if there is one."""
    return Engine(plan, before=before)


class Succession:
    """One run: of a plan, and of those that take its place.

    Attributes:
        engine: the one that takes records in.
        replaced: how often another plan has taken over.
        on_replaced: functions that are called in the step in which one does.
        clock: seconds, monotonic.
    """

    def __init__(self, plan: Plan, build: Build = build_engine) -> None:
        """Build the first engine, and later those of other plans, each with the one before it."""
        self.engine = build(plan, None)
        self.clock = self.engine.clock
        self.replaced = 0
        self.on_replaced: list[Callable[[], None]] = []
        self._build = build
        self._next: Engine | None = None
        self._older: list[Engine] = []
        self._past: Standing | None = None
        self._faults: list[str] = []
        self._failure: Exception | None = None
        self._runs: TaskGroup | None = None
        self.engine.read_all = self.families

    @property
    def plan(self) -> Plan:
        """The plan of the engine that takes records in."""
        return self.engine.plan

    @property
    def redactor(self) -> Redactor:
        """What takes its secrets out of texts."""
        return self.engine.redactor

    @property
    def started(self) -> anyio.Event:
        """Set when everything is open and records flow."""
        return self.engine.started

    @property
    def stopped_by(self) -> str | None:
        """Why it did not run to its own end; None if it did, or runs."""
        return self.engine.stopped_by

    async def run(self) -> dict[str, Any]:
        """Run to the end and give the report.

        Raises:
            OpenFailed: a plugin of the first plan could not be opened; no record was accepted.
        """
        async with anyio.create_task_group() as self._runs:
            self._runs.start_soon(self._see_through, self.engine)
        if self._failure is not None:
            raise self._failure
        return self.report()

    async def replace(self, plan: Plan) -> None:
        """Have another plan take over; returns when it has.

        Raises:
            DagflowError: it may not, or something of it could not be opened; nothing has changed.
        """
        plan = cut_plan(plan)
        hindrances = list(find_hindrances(self.plan, plan))
        if self._runs is None or not self.started.is_set() or self.stopped_by is not None:
            hindrances.append("the run starts, or drains")
        if hindrances:
            raise NotReplaced(hindrances)
        engine = self._next = self._build(plan, self.engine)
        opening = asyncio.get_running_loop().create_future()
        engine.read_all, engine.on_started = self.families, partial(self._advance, engine, opening)
        self._runs.start_soon(self._see_through, engine, opening)
        try:
            await opening
        finally:
            self._next = None
            if not engine.started.is_set():
                engine.stop("it is not to take over any more")

    def stop(self, reason: str) -> None:
        """Ask for no more records, and finish those in flight within `drain_timeout`."""
        for engine in self._all():
            engine.stop(reason)

    def force(self, reason: str, exit_code: int = 75) -> None:
        """Cancel whatever is in flight or still being finished, now; `exit_code` is what the run ends with."""
        for engine in self._all():
            engine.force(reason, exit_code)

    def report(self) -> dict[str, Any]:
        """Give the report of all plans that have run, as of now."""
        return self._told(self.engine.report())

    def status(self) -> dict[str, Any]:
        """Give the report as of now, with what only a running pipeline has to say."""
        return self._told(read_status(self.engine))

    def _told(self, own: dict[str, Any]) -> dict[str, Any]:
        """Add to what one engine says what others have done."""
        if not self.replaced:
            return own
        merged = merge_reports(self._standings())
        merged |= {"stopped_by": own["stopped_by"], "exit_code": own["exit_code"], "replaced": self.replaced}
        if self._faults:
            merged["stopped_by"] = "; ".join(self._faults)
        if not own["exit_code"]:
            merged["exit_code"] = 1 if self._faults else 75 if merged["unfinished"] else 0
        return merged

    def families(self) -> list[Family]:
        """Read the metrics of all plans that have run, as of now."""
        if not self.replaced:
            return self.engine.families()
        return merge_families([standing.families for standing in self._standings()])

    def standing(self) -> Standing:
        """Read how all of it is."""
        latencies = {place: dict(buckets) for place, buckets in self.latencies().items()}
        return Standing(self.status(), latencies, self.families())

    def latencies(self) -> dict[str, Counter[int]]:
        """Give the histograms behind the quantiles of the report."""
        return merge_latencies(self._standings())

    def _all(self) -> list[Engine]:
        return [self.engine, *filter(None, [self._next]), *self._older]

    def _standings(self) -> list[Standing]:
        return [*map(read_standing, (self.engine, *self._older)), *filter(None, [self._past])]

    def _advance(self, engine: Engine, opening: asyncio.Future[None]) -> None:
        """Take note that an engine takes over."""
        self._older.append(self.engine)
        self.engine = engine
        self.replaced += 1
        if not opening.done():
            opening.set_result(None)
        for tell in self.on_replaced:
            tell()

    async def _see_through(self, engine: Engine, opening: asyncio.Future[None] | None = None) -> None:
        """Run one engine to its end."""
        failure: Exception | None = None
        try:
            await engine.run()
        except Exception as error:  # unwrapped by who waits for it: a task group would wrap it
            failure = error
        finally:
            engine.ended.set()
        if engine is self.engine:
            self._failure = failure
            if self._next is not None:
                self._next.stop("the run has ended")
        elif engine in self._older:
            self._older.remove(engine)
            for other in self._all():
                other.forget(engine)
            self._keep(engine, failure)
        elif opening is not None and not opening.done():
            opening.set_exception(failure or NotReplaced(["the run has ended"]))

    def _keep(self, engine: Engine, failure: Exception | None) -> None:
        """Keep what an engine has done that has drained."""
        standing = read_standing(engine)
        if failure is not None:
            self._faults.append(describe(failure))
        elif standing.report["exit_code"] == 1:
            self._faults.append(standing.report["stopped_by"])
        past = [*filter(None, [self._past]), as_past(standing)]
        self._past = merge_standings(past)
