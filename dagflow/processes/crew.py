"""Crew: one plan in several processes. It looks like an `Engine` to whoever runs, watches or stops it.

    open what is shared -> start the children -> let records flow -> wait for all -> flush -> close

A child that dies is started again, and what it had not ended is done once more.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import anyio

from dagflow.engine.exporting import export_all
from dagflow.engine.faults import Faults
from dagflow.engine.lifecycle import CLOSE_TIMEOUT_S, close_plugins, flush_sinks, open_plugins
from dagflow.errors import NotReplaced, describe
from dagflow.processes.attending import Attending
from dagflow.processes.dividing import far_sinks, far_sources
from dagflow.processes.hosting import Hosting
from dagflow.processes.member import Member
from dagflow.processes.messages import (
    Answer,
    NotOpened,
    Opened,
    Piece,
    Room,
    Settled,
    Taken,
    Withdraw,
    Write,
)
from dagflow.processes.ports import Ports
from dagflow.processes.relay import Relay
from dagflow.processes.replacing import Replacing
from dagflow.processes.summary import Summary
from dagflow.processes.tracking import Tracking
from dagflow.redaction import Redactor
from dagflow.telemetry.logging import default_logger

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from dagflow.graph.plan import NodePlan, Plan
    from dagflow.telemetry.families import Family

_SPARE_S: Final = 5.0  # beyond its drain and flush, before a child is killed


class Crew:
    """One run of one plan in several processes.

    Attributes:
        started: set when everything is open and records flow.
        clock: seconds, monotonic; the same in all processes.
        stopped_by: why it did not run to its own end; None if it did, or runs.
        replaced: how often another plan has taken over.
    """

    _exporting: anyio.CancelScope

    def __init__(self, plan: Plan, fresh: bool = False) -> None:
        """Take the plan, and whether to forget what the checkpoint knows; starts nothing."""
        self.plan = plan
        self.started = anyio.Event()
        self.stopped_by: str | None = None
        self.clock = time.monotonic
        self.redactor = Redactor.of(plan)
        self._log = default_logger(self.redactor)
        self._tracking = Tracking(plan, fresh)
        if self._tracking.checkpoint is not None:
            self._tracking.checkpoint.on_trouble = self._on_trouble
        self._members = [Member(index, self) for index in range(plan.runtime.processes)]
        self._sinks = Hosting(plan, self.clock, self._log)
        for name in far_sinks(plan):
            self._sinks.host_sink(plan.nodes[name], self._on_written)
        self._sources = Hosting(plan, self.clock, self._log)
        self._relays = {name: self._build_relay(plan.nodes[name]) for name in far_sources(plan)}
        for exporter in plan.exporters.values():
            self._sinks.host_exporter(exporter)
        hostings = (self._sinks, self._sources)
        self._summary = Summary(plan, self._members, hostings, self._relays, self._tracking)
        children = (self._members, self._sinks, self._relays, self._tracking, self._summary)
        self._children = Attending(plan, *children, self._log)
        self._children.on_failure = self._fail
        self._ports = Ports(plan)
        self._handlers: dict[type, Callable[[Member, Any], None]] = {
            Write: self._on_write,
            Taken: self._on_taken,
            Settled: self._on_settled,
            Withdraw: self._on_withdraw,
            Answer: lambda member, answer: self._relays[answer.source].answered(member, answer),
            Piece: lambda member, piece: self._relays[piece.source].streamed(piece),
            Room: lambda member, room: self._relays[room.source].take_room(member, room),
            Opened: self._on_opened,
            NotOpened: self._on_opened,
        }
        self.replaced = 0
        self._replacing: Replacing | None = None
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
                    self._failures += await flush_sinks(self._sinks, self._flush_timeout_s)
                    if self._tracking.checkpoint is not None:
                        await self._tracking.checkpoint.commit()
                    for exporter in self._sinks.exporters.values():
                        await exporter.send(self.families())
        finally:
            with anyio.CancelScope(shield=True):
                await self._children.wait_all_gone()
                for hosting in (self._sources, self._sinks):
                    await close_plugins(hosting, self._log)
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
        for relay in self._relays.values():
            relay.stop()
        self._children.stop(reason)
        loop = asyncio.get_running_loop()
        loop.call_later(self.plan.drain_timeout_s + self._flush_timeout_s + _SPARE_S, self._children.kill_all)

    def force(self, reason: str, exit_code: int = 75) -> None:
        """Cancel whatever is in flight or still being finished, now; `exit_code` is what the run ends with."""
        self.stop(reason)
        self._forced_code = exit_code
        self._children.force(reason)
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S + _SPARE_S, self._children.kill_all)

    async def replace(self, plan: Plan) -> None:
        """Have another plan take over in all processes; returns when it does.

        Raises:
            DagflowError: it may not, or something of it could not be opened; nothing has changed.
        """
        if self.stopped_by is not None or self._replacing is not None:
            raise NotReplaced(["the run drains, or another plan is about to take over"])
        replacing = self._replacing = Replacing(self.plan, plan, self._members, self._sinks, self._log)
        try:
            replacing.check()
            await replacing.open(self._ports, self._on_written)
        finally:
            self._replacing = None
        self.plan = self._children.plan = plan
        self.redactor = Redactor.of(plan)
        self.replaced += 1
        self._sinks.replace(replacing.fresh, plan.exporters)
        self._exporting.cancel()
        replacing.take_over(self._ports)

    def report(self) -> dict[str, Any]:
        """Give the report of all processes, as they were when they were asked last."""
        report, relays = self._summary.report(), self._relays.values()
        report["duration_s"] = self.clock() - self._started_at
        if self.replaced:
            report["replaced"] = self.replaced
        failed = [f"source `{relay.plan.name}`: {describe(relay.error)}" for relay in relays if relay.error]
        report["stopped_by"] = self.redactor.redact("; ".join(failed + self._failures)) or self.stopped_by
        report["exit_code"] = self._exit_code(bool(failed or self._failures), report)
        return report

    def families(self) -> list[Family]:
        """Give the metrics of all processes, as they were when they were asked last."""
        return self._summary.families()

    def latencies(self) -> dict[str, Counter[int]]:
        """Give the histograms behind the quantiles of the report."""
        return self._summary.latencies()

    def reasons(self) -> list[tuple[str, str]]:
        """Say what is not ready, and why: in any process that lives, and those that do not."""
        return self._summary.reasons()

    def on_message(self, member: Member, message: Any) -> None:
        """Take what a child says."""
        self._handlers[message.__class__](member, message)

    def _on_write(self, member: Member, write: Write) -> None:
        self._sinks.nodes[write.sink].take(member, write)

    def _on_taken(self, member: Member, taken: Taken) -> None:
        relay = self._relays.get(taken.source)
        self._tracking.take(member.marks, taken, relay and relay.mark_of(member, taken.key))

    def _on_settled(self, member: Member, settled: Settled) -> None:
        member.outcomes[settled.outcome] += 1
        relay = self._relays.get(settled.source)
        if relay is not None:
            relay.settled(member, settled)
        self._tracking.settle(member.marks, settled, is_relayed=relay is not None)

    def _on_withdraw(self, member: Member, withdraw: Withdraw) -> None:
        for sink in self._sinks.nodes.values():
            sink.withdraw(member, withdraw.number)

    def _on_written(self, member: Member, write: Write) -> None:
        self._tracking.note_written(member.marks, write)

    async def _open(self) -> None:
        """Open what is shared before the children, and what brings records in behind them."""
        self._ports.make_folder()
        await self._tracking.open(self._sinks, self._ports.folder)
        with self.redactor.scrubbing():
            await open_plugins(self._sinks)
        self._ports.open()
        await self._tracking.begin()
        await self._children.start(self._ports)
        with self.redactor.scrubbing():
            await open_plugins(self._sources)

    async def _run(self) -> None:
        self.started.set()
        async with anyio.create_task_group() as beside:
            beside.start_soon(self._children.ask)
            for relay in self._relays.values():
                beside.start_soon(self._run_relay, relay)
                beside.start_soon(relay.telling.run)
            if self._tracking.checkpoint is not None:
                beside.start_soon(self._tracking.checkpoint.run)
            beside.start_soon(self._export)
            await self._children.run()
            for relay in self._relays.values():
                relay.telling.finish(CLOSE_TIMEOUT_S)
            beside.cancel_scope.cancel()

    def _build_relay(self, node: NodePlan) -> Relay:
        plugin, context = self._sources.host(node)
        faults, checkpoint = Faults(self._log, self.redactor), self._tracking.checkpoint
        relay = Relay(node, plugin, self._members, faults, self._log, self.plan.max_in_flight, checkpoint)
        context.room = relay.room
        return relay

    async def _export(self) -> None:
        while True:
            with anyio.CancelScope() as self._exporting:
                await export_all(self._sinks.exporters.values(), self.families)
                await anyio.sleep_forever()

    def _on_opened(self, member: Member, answer: Any) -> None:
        if self._replacing is not None:
            self._replacing.on_answer(member, answer)

    async def _run_relay(self, relay: Relay) -> None:
        await relay.run()
        relay.exhaust()
        if relay.error is not None:
            self.stop(f"source `{relay.plan.name}` failed")

    def _on_trouble(self, reason: str) -> None:
        if reason not in self._failures:
            self._failures.append(reason)
            self.stop("the checkpoint cannot be kept")

    def _fail(self, reason: str) -> None:
        self._failures.append(reason)
        self.stop("a process failed")

    @property
    def _flush_timeout_s(self) -> float:
        return CLOSE_TIMEOUT_S if self._forced_code is not None else max(self.plan.drain_timeout_s, CLOSE_TIMEOUT_S)

    def _exit_code(self, broken: bool, report: dict[str, Any]) -> int:
        if self._forced_code is not None:
            return self._forced_code
        codes = self._summary.exit_codes
        if broken or 1 in codes:
            return 1
        if report["unfinished"] or 75 in codes or any(r.plugin.finite and not r.ended for r in self._relays.values()):
            return 75
        batch = any(node.finite for node in self.plan.of_kind("source"))
        return 65 if batch and report["outcomes"]["failed"] else 0
