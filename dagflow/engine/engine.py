"""Engine: runs one plan, once.

    open -> flow (sources in, stages, sinks) -> flush -> close

`stop` ends intake and drains; what is unfinished after the plan's `drain_timeout` is cancelled.
`force` cancels at once. Whichever way it ends, every accepted record ends in an outcome.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import anyio

from dagflow.engine.estate import Estate
from dagflow.engine.exporting import export_all
from dagflow.engine.letters import Letters
from dagflow.engine.lifecycle import CLOSE_TIMEOUT_S, close_in_thread, close_plugins, flush_sinks, open_plugins
from dagflow.engine.readings import read_families
from dagflow.engine.report import build_report, exit_code
from dagflow.engine.slot import Slot
from dagflow.engine.stores import Stores
from dagflow.engine.wirer import Wirer
from dagflow.errors import PipelineClosed, describe
from dagflow.graph.cutting import cut_plan
from dagflow.redaction import Redactor
from dagflow.shares import WHOLE, Share
from dagflow.telemetry.logging import default_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from anyio.abc import TaskGroup

    from dagflow.engine.node_runner import NodeRunner
    from dagflow.engine.reentry import Replay
    from dagflow.engine.resending import Entry, Read
    from dagflow.engine.source_runner import SourceRunner
    from dagflow.errors import RecordError
    from dagflow.graph.plan import Plan
    from dagflow.plugin import Source
    from dagflow.record import Record
    from dagflow.telemetry.families import Family

REPLACED: Final = "another plan has taken its place"


class Engine:
    """One run of one plan.

    Attributes:
        started: set when everything is open and records flow; `ended`: to be set by who has run it when it has ended.
        clock: seconds, monotonic; what deadlines are points on.
        stopped_by: why it did not run to its own end; None if it did, or runs.
        wiring: what it is made of, for those who only look; `redactor`: what takes the plan's secrets out of texts.
        on_started: called in the step in which it takes the place of another run.
        read_all: reads what exporters are given: the metrics of this run, and of others before it where there are any.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        clock: Callable[[], float] = time.monotonic,
        log: Any = None,
        substitutes: Mapping[str, Source] | None = None,
        letters: Letters | None = None,
        resumes: bool = False,
        fresh: bool = False,
        checkpoint: Any = None,
        share: Share = WHOLE,
        before: Engine | None = None,
    ) -> None:
        """Wire the plan; starts nothing.

        Args:
            substitutes: stand in for sources of the file, by name.
            letters: keeps dead letters; by default what the plan says.
            resumes: whether sinks add to what an earlier run wrote.
            fresh: whether to forget what the checkpoint knows.
            checkpoint: stands in for a `Checkpointing` of the plan's own.
            share: what this process takes of sources that split.
            before: the run whose place this one is to take once everything is open.
        """
        plan = self.plan = cut_plan(plan)
        self._before = before
        self.started, self.ended = anyio.Event(), anyio.Event()
        self.stopped_by: str | None = None
        self._forced_code: int | None = None
        self.clock = clock
        self.redactor = Redactor.of(plan)
        self._log = default_logger(self.redactor) if log is None else log
        stores = Stores(plan, letters, checkpoint, fresh, bool(substitutes), self._on_trouble, clock, self._log)
        self._stores = stores
        self._estate = before and Estate(before.plan, before.wiring, plan)
        wired = (substitutes, stores.letters, resumes, stores.checkpoint, share, self._estate, stores.leasing)
        with self.redactor.scrubbing():
            self.wiring = Wirer(plan, clock, self._log, self.redactor, *wired).wire()
        self.wiring.faults.on_final = self._give_up
        sources = [runner.plugin for runner in self.wiring.sources.values()]
        self._cancellable = any(source.can_cancel for source in sources)
        self._notes = any(source.serves for source in sources) or plan.tracing is not None
        self._flow: TaskGroup | None = None
        none: anyio.CancelScope | None = None
        self._opening = self._finishing = self._exporting = none
        self._drain_timer: asyncio.TimerHandle | None = None
        self._began_s: float = clock() if before is None else before._began_s
        self._failures: list[str] = []
        self.on_started: Callable[[], None] = lambda: None
        self.read_all: Callable[[], list[Family]] = self.families

    async def run(self) -> dict[str, Any]:
        """Run to the end and give the report.

        Raises:
            OpenFailed: a plugin could not be opened; no record was accepted.
        """
        try:
            with anyio.CancelScope() as self._opening:
                if self.stopped_by is None:
                    await self._stores.open(self.wiring)
                    with self.redactor.scrubbing():
                        await open_plugins(self.wiring)
                    await self._stores.begin()
                    self._take_over()
                    self.started.set()
            if self.started.is_set():
                async with anyio.create_task_group() as beside:
                    beside.start_soon(self._export)
                    if self._stores.checkpoint is not None:
                        beside.start_soon(self._stores.checkpoint.run)
                    await self._run_flow()
                    beside.cancel_scope.cancel()
                await self._outlive()
                with anyio.CancelScope() as self._finishing:
                    self._failures += await flush_sinks(self.wiring, self._flush_timeout_s)
                    await self._stores.commit()
                    for exporter in self.wiring.exporters.values():
                        await exporter.send(self.read_all())
        finally:
            with anyio.CancelScope(shield=True) as self._finishing:
                await self._outlive()
                await close_plugins(self.wiring, self._log)
                if self.wiring.tracer is not None:
                    await close_in_thread(self.wiring.tracer.close, "the tracer", self._log)
            await self._stores.close()
        return self.report()

    def stop(self, reason: str) -> None:
        """Ask for no more records, and finish those in flight within `drain_timeout`."""
        if self.stopped_by is None:
            self.stopped_by = reason
            if self._flow is None and self._opening is not None:
                self._opening.cancel()
            self._end_intake()
        if self._flow is not None and self._drain_timer is None:
            self._log.info("draining", reason=reason, timeout_s=self.plan.drain_timeout_s)
            self._drain_timer = asyncio.get_running_loop().call_later(self.plan.drain_timeout_s, self._abandon)

    def retire(self) -> None:
        """Ask for no more records, as another run takes the place of this one; those in flight have all their time."""
        self.stopped_by = self.stopped_by or REPLACED
        if self._exporting is not None:
            self._exporting.cancel()
        self._end_intake()

    def force(self, reason: str, exit_code: int = 75) -> None:
        """Cancel whatever is in flight or still being finished, now; `exit_code` is what the run ends with."""
        self.stop(reason)
        self._forced_code = exit_code
        self._log.warning("cancelling", reason=reason, in_flight=len(self.wiring.book.live))
        self._abandon()
        if self._finishing is not None:
            self._finishing.cancel()

    def replay(self, entries: Sequence[Entry], read: Read) -> Replay:
        """Send dead letters in beside what the sources bring.

        Args:
            read: gives letters by their numbers; called in a thread.

        Raises:
            AlreadyReplaying: the last replay is not over.
            PipelineClosed: the run has not begun, or drains.
        """
        runner = self.wiring.reentry
        if runner is None or self._flow is None or self.stopped_by is not None:
            raise PipelineClosed
        replay = runner.plugin.prepare(entries, read)
        self._flow.start_soon(runner.plugin.run, runner)
        return replay

    def report(self) -> dict[str, Any]:
        """Give the report as of now."""
        report = build_report(self.wiring, self.plan.name, self.clock() - self._began_s)
        failed = [f"source `{r.plan.name}`: {describe(r.error)}" for r in self.wiring.sources.values() if r.error]
        if self._stores.checkpoint is not None:
            report["checkpoint"] = self._stores.checkpoint.as_dict()
        report["stopped_by"] = self.redactor.redact("; ".join(failed + self._failures)) or self.stopped_by
        is_broken = bool(failed or self._failures)
        report["exit_code"] = exit_code(report, is_broken, self.wiring.sources.values(), self._forced_code)
        return report

    def families(self) -> list[Family]:
        """Read the metrics as of now."""
        return read_families(self.wiring, self.plan.name, (now_s := self.clock()) - self._began_s, now_s)

    def _take_over(self) -> None:
        """Take the place of the run before this one, in one step."""
        if self._before is not None:
            self._estate.hand_over(self.wiring)
            self._before.retire()
            self.on_started()

    def forget(self, before: Engine) -> None:
        """Keep nothing of the run before this one, which has ended."""
        if self._before is before:
            self._before = None
            self._estate.forget()

    async def _outlive(self) -> None:
        """Wait for the end of the run before this one, which uses what is open here, if this one has its place."""
        before = self._before
        if before is not None and self.started.is_set():
            before.stop(REPLACED)
            await before.ended.wait()
            self.forget(before)

    async def _export(self) -> None:
        with anyio.CancelScope() as self._exporting:
            await export_all(self.wiring.exporters.values(), self.read_all)

    def _end_intake(self) -> None:
        for runner in (*self.wiring.sources.values(), *filter(None, [self.wiring.reentry])):
            runner.stop()

    async def _run_flow(self) -> None:
        async with anyio.create_task_group() as telling:
            for runner in self.wiring.sources.values():
                telling.start_soon(runner.telling.run)
            try:
                async with anyio.create_task_group() as self._flow:
                    for runner in self.wiring.sources.values():
                        self._flow.start_soon(self._run_source, runner)
                    for node in self.wiring.nodes.values():
                        self._flow.start_soon(self._run_node, node)
            finally:
                self._flow = None
                if self._drain_timer is not None:
                    self._drain_timer.cancel()
                # Slots and sources are gone; whatever they left behind ends now.
                for queue in (*self.wiring.channels.values(), *self.wiring.joins):
                    queue.abandon()
                if self._stores.letters is not None:
                    await self._stores.letters.wait_kept(self._flush_timeout_s)
                for runner in self.wiring.sources.values():
                    runner.telling.finish(CLOSE_TIMEOUT_S)

    async def _run_source(self, runner: SourceRunner) -> None:
        await runner.run()
        self._close_channels(runner.plan.name)
        if runner.error is not None:
            self.stop(f"source `{runner.plan.name}` failed")

    async def _run_node(self, node: NodeRunner) -> None:
        async with anyio.create_task_group() as slots:
            for intake in node.intakes:
                slots.start_soon(Slot(node, intake, self._cancellable, self._notes).run)
        self._close_channels(node.plan.name)

    def _give_up(self, record: Record, error: RecordError) -> None:
        """Drain after a failure that all would share, unless the file provides for it or the branch is best-effort."""
        counts = record.ticket in self.wiring.book.live and self.plan.nodes[error.node].on_error == "dead_letter"
        if counts and self.stopped_by is None:
            self._failures.append(f"`{error.node}`: {describe(error)}")
            self.stop(f"`{error.node}` failed for good")

    def _on_trouble(self, what: str, reason: str) -> None:
        """Take no more records in: what becomes of them could not be kept."""
        if reason not in self._failures:
            self._failures.append(reason)
            self.stop(what)

    def _close_channels(self, name: str) -> None:
        for edge in self.plan.edges_from[name]:
            self.wiring.channels[edge.name].close()
            self.wiring.nodes[edge.target].release_stragglers()

    def _abandon(self) -> None:
        """Interrupt every slot and empty every channel; a sender that waits is let go."""
        if self._flow is not None:
            self._flow.cancel_scope.cancel()
            for channel in self.wiring.channels.values():
                channel.abandon()

    @property
    def _flush_timeout_s(self) -> float:  # who forces the end waits for it
        return CLOSE_TIMEOUT_S if self._forced_code is not None else max(self.plan.drain_timeout_s, CLOSE_TIMEOUT_S)
