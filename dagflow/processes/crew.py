"""Crew: one plan in several processes. It looks like an `Engine` to whoever runs, watches or stops it.

    open what is shared -> start the children -> let records flow -> wait for all -> flush -> close

A child that dies is started again, and what it had not ended is done once more.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import anyio

from dagflow.engine.lifecycle import CLOSE_TIMEOUT_S, close_plugins, flush_sinks, open_plugins
from dagflow.errors import ProcessFailed, describe
from dagflow.processes.dividing import far_sinks
from dagflow.processes.hosting import Hosting
from dagflow.processes.member import Member, cores
from dagflow.processes.merging import as_left, merge_families, merge_reports
from dagflow.processes.messages import Again, Ask, Begin, Force, Go, Settled, Stop, Taken, Withdraw, Write
from dagflow.processes.ports import Ports
from dagflow.processes.tracking import Tracking
from dagflow.redaction import Redactor
from dagflow.telemetry.logging import default_logger

if TYPE_CHECKING:
    from dagflow.graph.plan import Plan
    from dagflow.processes.messages import State
    from dagflow.telemetry.families import Family

ASK_EVERY_S: Final = 0.5
"""How often children are asked how they are, in seconds."""

_BACKOFF_S: Final = 0.1
_MAX_BACKOFF_S: Final = 10.0
_MOST_VAIN_STARTS: Final = 5  # in a row, of a child that dies before it is ready
_SPARE_S: Final = 5.0  # beyond its drain and flush, before a child is killed


class Crew:
    """One run of one plan in several processes.

    Attributes:
        started: set when everything is open and records flow.
        clock: seconds, monotonic; the same in all processes.
        stopped_by: why it did not run to its own end; None if it did, or runs.
    """

    def __init__(self, plan: Plan, fresh: bool = False) -> None:
        """Take the plan, and whether to forget what the checkpoint knows; starts nothing."""
        self.plan = plan
        self.started = anyio.Event()
        self.stopped_by: str | None = None
        self.clock = time.monotonic
        self.redactor = Redactor.of(plan)
        self._log = default_logger(self.redactor)
        self._hosting = Hosting(plan, far_sinks(plan), self.clock, self._log)
        for sink in self._hosting.nodes.values():
            sink.on_written = self._on_written
        self._tracking = Tracking(plan, fresh)
        if self._tracking.checkpoint is not None:
            self._tracking.checkpoint.on_trouble = self._on_trouble
        self._members = [Member(index, self) for index in range(plan.runtime.processes)]
        self._ports = Ports(plan)
        self._left: list[State] = []
        self._unfinished: list[dict[str, str]] = []
        self._failures: list[str] = []
        self._forced_code: int | None = None
        self._scope: anyio.CancelScope | None = None
        self._started_at = self.clock()

    async def run(self) -> dict[str, Any]:
        """Run to the end and give the report.

        Raises:
            OpenFailed, CheckpointMismatch, ProcessFailed: something could not be opened; no record was accepted.
        """
        self._started_at = self.clock()
        try:
            with anyio.CancelScope() as self._scope:
                if self.stopped_by is None:
                    await self._open()
                    await self._run()
            if self.started.is_set():
                with anyio.CancelScope() as self._scope:
                    self._failures += await flush_sinks(self._hosting, self._flush_timeout_s)
                    if self._tracking.checkpoint is not None:
                        await self._tracking.checkpoint.commit()
        finally:
            with anyio.CancelScope(shield=True):
                await self._bury_all()
                await close_plugins(self._hosting, self._log)
                await self._tracking.close()
                self._ports.close()
        return self.report()

    def stop(self, reason: str) -> None:
        """Ask for no more records, and finish those in flight within `drain_timeout`."""
        if self.stopped_by is not None:
            return
        self.stopped_by = reason
        if not self.started.is_set():
            if self._scope is not None:
                self._scope.cancel()
            return
        self._log.info("draining", reason=reason, timeout_s=self.plan.drain_timeout_s)
        for member in self._members:
            member.link.send(Stop(reason))
        loop = asyncio.get_running_loop()
        loop.call_later(self.plan.drain_timeout_s + self._flush_timeout_s + _SPARE_S, self._kill_all)

    def force(self, reason: str, exit_code: int = 75) -> None:
        """Cancel whatever is in flight or still being finished, now; `exit_code` is what the run ends with."""
        self.stop(reason)
        self._forced_code = exit_code
        for member in self._members:
            if member.starts:
                member.link.send(Force(reason))
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S + _SPARE_S, self._kill_all)

    def report(self) -> dict[str, Any]:
        """Give the report of all processes, as they were when they were asked last."""
        states = self._states()
        report = merge_reports(states) if states else _EMPTY | {"pipeline": self.plan.name}
        report["duration_s"] = self.clock() - self._started_at
        report["unfinished"] = [*report["unfinished"], *self._unfinished]
        checkpoint = report.pop("checkpoint", None)
        report |= self._tracking.as_dict(0 if checkpoint is None else checkpoint["skipped"])
        for name, sink in self._hosting.nodes.items():
            if name in report["nodes"]:
                counters = self._hosting.metrics[name].counters
                report["nodes"][name]["metrics"] |= {key: counter.value for key, counter in counters.items()}
                if sink.position is not None:
                    report["nodes"][name]["position"] = sink.position
        report["processes"] = [self._row(member) for member in self._members if member.starts]
        report["stopped_by"] = self.redactor.redact("; ".join(self._failures)) or self.stopped_by
        report["exit_code"] = self._exit_code(states, report)
        return report

    def families(self) -> list[Family]:
        """Give the metrics of all processes, as they were when they were asked last."""
        return merge_families([state.families for state in self._states()])

    def on_message(self, member: Member, message: Any) -> None:
        """Take what a child says."""
        match message:
            case Write():
                self._hosting.nodes[message.sink].take(member, message)
            case Taken():
                self._tracking.take(member.marks, message)
            case Settled():
                member.outcomes[message.outcome] += 1
                self._tracking.settle(member.marks, message)
            case Withdraw(number):
                for sink in self._hosting.nodes.values():
                    sink.withdraw(member, number)

    def _on_written(self, member: Member, write: Write) -> None:
        self._tracking.note_written(member.marks, write)

    async def _open(self) -> None:
        checkpoint = self._tracking.checkpoint
        await self._tracking.open(self._hosting)
        with self.redactor.scrubbing():
            await open_plugins(self._hosting)
        self._ports.open()
        if checkpoint is not None:
            await checkpoint.begin()
        known = self._tracking.known()
        async with anyio.create_task_group() as starting:
            for member in self._members:
                starting.start_soon(member.start, self._begin(member, known))
        for member in self._members:
            if not await member.wait_ready():
                self._kill_all()
                raise self._failure(member, await member.wait_gone())

    def _begin(self, member: Member, again: list[Again]) -> Begin:
        available, path = cores(), self.plan.path
        return Begin(
            text=self.plan.text,
            path=None if path is None else str(path),
            overrides=list(self.plan.overrides),
            index=member.index,
            count=len(self._members),
            core=available[member.index % len(available)] if self.plan.runtime.pin_cores else None,
            resumes=self._tracking.resumes,
            ledger=self._tracking.path,
            again=again,
            ports=self._ports.numbers,
        )

    def _failure(self, member: Member, end: str) -> ProcessFailed:
        failed = member.failure
        if failed is not None:
            return ProcessFailed(failed.message, failed.code)
        return ProcessFailed(f"process {member.index} ended before it was ready ({end}); what it wrote stands above")

    async def _run(self) -> None:
        for member in self._members:
            member.link.send(Go())
        self.started.set()
        async with anyio.create_task_group() as beside:
            beside.start_soon(self._ask)
            if self._tracking.checkpoint is not None:
                beside.start_soon(self._tracking.checkpoint.run)
            async with anyio.create_task_group() as attending:
                for member in self._members:
                    attending.start_soon(self._attend, member)
            beside.cancel_scope.cancel()

    async def _ask(self) -> None:
        while True:
            for member in self._members:
                if member.ready.is_set() and not member.gone.is_set():
                    member.link.send(Ask())
            await asyncio.sleep(ASK_EVERY_S)

    async def _attend(self, member: Member) -> None:
        """See a child through its lives."""
        vain, pause_s = 0, _BACKOFF_S
        while True:
            began = self.clock()
            end = await member.wait_gone()
            if member.is_last:
                return
            again = await self._bury(member)
            if self.stopped_by is not None:
                self._unfinished += [
                    {"id": mark.id, "where": f"process {member.index}"} for mark in member.marks.values()
                ]
                return
            vain = 0 if member.ready.is_set() else vain + 1
            if vain == _MOST_VAIN_STARTS:
                self._failures.append(describe(self._failure(member, end)))
                self.stop(f"process {member.index} cannot be started again")
                return
            pause_s = _BACKOFF_S if self.clock() - began > _MAX_BACKOFF_S else min(2 * pause_s, _MAX_BACKOFF_S)
            told = {"process": member.index, "end": end, "again_in_s": pause_s, "records": len(member.marks)}
            self._log.error("a process died", **told)
            await asyncio.sleep(pause_s)
            await member.start(self._begin(member, again))
            member.link.send(Go())
            if self.stopped_by is not None:
                member.link.send(Stop(self.stopped_by))

    async def _bury(self, member: Member) -> list[Again]:
        for sink in self._hosting.nodes.values():
            sink.forget(member)
        again = await self._tracking.bury(member.marks)
        if member.state is not None:
            tracked = self._tracking.path is not None
            self._left.append(as_left(member.state, dict(member.outcomes) if tracked else None))
            member.state = None
        return again

    async def _bury_all(self) -> None:
        """End what is left of the children, after a failure."""
        for member in self._members:
            if member.starts and not member.is_last:
                member.kill()
                with suppress(TimeoutError):
                    with anyio.fail_after(CLOSE_TIMEOUT_S):
                        await member.wait_gone()

    def _kill_all(self) -> None:
        for member in self._members:
            if member.starts and not member.is_last:
                member.kill()

    def _on_trouble(self, reason: str) -> None:
        if reason not in self._failures:
            self._failures.append(reason)
            self.stop("the checkpoint cannot be kept")

    def _states(self) -> list[State]:
        return [*self._left, *(member.state for member in self._members if member.state is not None)]

    def _row(self, member: Member) -> dict[str, Any]:
        report = {} if member.state is None else member.state.report
        outcomes = Counter(report.get("outcomes", {}))
        return {
            "index": member.index,
            "pid": member.pid,
            "alive": not member.gone.is_set(),
            "restarts": member.starts - 1,
            "accepted": report.get("accepted", 0),
            "settled": outcomes.total(),
            "in_flight": report.get("in_flight", 0),
        }

    @property
    def _flush_timeout_s(self) -> float:
        return CLOSE_TIMEOUT_S if self._forced_code is not None else max(self.plan.drain_timeout_s, CLOSE_TIMEOUT_S)

    def _exit_code(self, states: list[State], report: dict[str, Any]) -> int:
        if self._forced_code is not None:
            return self._forced_code
        codes = {state.report["exit_code"] for state in states if state not in self._left}
        if self._failures or 1 in codes:
            return 1
        if report["unfinished"] or 75 in codes:
            return 75
        batch = any(node.finite for node in self.plan.of_kind("source"))
        return 65 if batch and report["outcomes"]["failed"] else 0


_EMPTY: Final[dict[str, Any]] = {
    "duration_s": 0.0,
    "accepted": 0,
    "taken_over": 0,
    "outcomes": dict.fromkeys(("delivered", "filtered", "shed", "expired", "failed", "cancelled"), 0),
    "in_flight": 0,
    "nodes": {},
    "edges": {},
    "sources": {},
    "workers": {},
    "errors": [],
    "unfinished": [],
}
