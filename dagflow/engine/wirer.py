"""Wirer: from a plan to runners, channels and plugins that know each other. Starts nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from dagflow.access.grants import Grants
from dagflow.channel.reasons import ABANDONED, CANCELLED
from dagflow.config.auth_tables import all_tokens
from dagflow.context import ChannelLinks, Context
from dagflow.engine.book import Book
from dagflow.engine.exporting import Exporting
from dagflow.engine.faults import Faults, Unfinished
from dagflow.engine.intake import Bells, build_intakes
from dagflow.engine.join import Join
from dagflow.engine.node_runner import NodeRunner
from dagflow.engine.outlet import Branch, Outlet
from dagflow.engine.place import NOWHERE, Place, place_before
from dagflow.engine.postbox import UNFINISHED, Postbox
from dagflow.engine.reentry import Reentry, ways_in
from dagflow.engine.resending import REPLAY
from dagflow.engine.shadow import ShadowBook
from dagflow.engine.source_runner import SourceRunner
from dagflow.engine.spilling import Spilling
from dagflow.engine.turns import Turns
from dagflow.engine.wiring import Wiring
from dagflow.errors import DeadlinePassed, OpenFailed
from dagflow.graph.draft import ERROR_PORT
from dagflow.graph.plan import ExporterPlan, NodePlan
from dagflow.graph.replacing import is_replaceable
from dagflow.inference.guarded import GuardedWorker
from dagflow.plugin import NoOptions, Sink
from dagflow.record import Outcome
from dagflow.shares import WHOLE, Share
from dagflow.telemetry.instruments import Metrics
from dagflow.transports.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dagflow.channel.channel import Channel
    from dagflow.engine.checkpointing import Checkpointing
    from dagflow.engine.estate import Estate
    from dagflow.engine.letters import Letters
    from dagflow.errors import RecordError
    from dagflow.graph.plan import EdgePlan, Plan, WorkerPlan
    from dagflow.inference.leasing import Leasing
    from dagflow.plugin import Source
    from dagflow.record import Record, Ticket
    from dagflow.redaction import Redactor
    from dagflow.telemetry.tracing import Tracer


class Wirer:
    """Builds a `Wiring`; one use.

    Raises:
        OpenFailed: a plugin could not even be constructed.
    """

    def __init__(
        self,
        plan: Plan,
        clock: Callable[[], float],
        log: Any,
        redactor: Redactor,
        substitutes: Mapping[str, Source] | None = None,
        letters: Letters | None = None,
        resumes: bool = False,
        checkpoint: Checkpointing | None = None,
        share: Share = WHOLE,
        estate: Estate | None = None,
        leasing: Leasing | None = None,
    ) -> None:
        self._estate = estate
        self._share = share
        self._checkpoint = checkpoint
        self._plan = plan
        self._clock = clock
        self._log = log
        self._substitutes = substitutes or {}
        self._resumes = resumes
        book = Book(plan.max_in_flight)
        self._is_replaceable = is_replaceable(plan)
        self._wiring = Wiring(book, Faults(log, redactor), Unfinished(book.live), letters, leasing=leasing)
        self._bells = {name: Bells(node) for name, node in plan.nodes.items()}
        self._places, self._workers = self._wiring.places, self._wiring.workers
        before = estate and estate.grants
        self._grants = None if plan.auth is None else _built("auth", lambda: Grants(all_tokens(plan.auth), before))

    def wire(self) -> Wiring:
        """Build everything, downstream first, so that what is opened first is what is needed first."""
        self.wire_workers()
        for exporter in self._plan.exporters.values():
            self._wire_exporter(exporter)
        if self._plan.tracing is not None:
            self._wiring.tracer = _built("tracing", self._build_tracer)
        for edge in self._plan.edges:
            self._wiring.channels[edge.name] = self._build_channel(edge)
        for node in reversed(self._plan.nodes.values()):
            self._wire_node(node)
        given = (self._wiring, self._checkpoint, self._cancel, self._clock, self._log)
        self._wiring.spilling = Spilling(*given, aside=bool(self._substitutes))
        if self._plan.admin is not None and self._wiring.letters is not None:
            self._wiring.reentry = self._build_reentry(self._wiring.letters)
        return self._wiring

    def wire_workers(self) -> Wiring:
        """Build the workers alone, for whoever has no use for the rest."""
        for worker in self._plan.workers.values():
            self._wire_worker(worker)
        return self._wiring

    def _wire_exporter(self, plan: ExporterPlan) -> None:
        estate = self._estate
        if estate is not None and plan.name in estate.exporters:
            exporting = self._wiring.exporters[plan.name] = estate.wiring.exporters[plan.name]
            estate.lend(exporting.plugin, self._wiring)
            return
        plugin = _built(plan.name, partial(plan.cls, plan.options))
        context = self._context(plan.name, plan)
        self._wiring.plugins.append((plugin, context))
        self._wiring.exporters[plan.name] = Exporting(plan, plugin, self._plan.metric_labels, context.logger)

    def _build_tracer(self) -> Tracer:
        from dagflow.telemetry.tracing import Tracer

        return Tracer(self._plan.tracing, self._plan.name, self._clock, self._workers)

    def _wire_worker(self, worker: WorkerPlan) -> None:
        """Build a worker and its guards; its members, if it is a pool, stand before it in the plan."""
        estate = self._estate
        if estate is not None and worker.name in estate.workers:
            guarded = self._workers[worker.name] = estate.wiring.workers[worker.name]
            estate.lend(guarded.plugin, self._wiring)
            return
        plugin = _built(worker.name, partial(worker.cls, worker.options))
        context = self._context(worker.name, worker)
        self._wiring.plugins.append((plugin, context))
        self._workers[worker.name] = GuardedWorker(
            worker, plugin, context.workers, self._clock, context.logger, self._wiring.leasing
        )

    def _wire_node(self, node: NodePlan) -> None:
        wiring, estate = self._wiring, self._estate
        lent = estate.wiring.nodes[node.name] if estate is not None and node.name in estate.sinks else None
        if lent is not None:
            plugin = lent.plugin
            estate.lend(plugin, wiring)
        else:
            plugin = self._substitutes[node.name] if node.name in self._substitutes else _built(node.name, node.build)
            context = self._context(node.name, node)
            wiring.plugins.append((plugin, context))
        outlets: dict[str | None, Outlet] = {}
        place = self._place_after(node)
        if node.kind == "source":
            postbox = Postbox(wiring.letters, place, node.name, node.name)
            runner = self._build_source(node, plugin, outlets, place, postbox, self._checkpoint)
            wiring.sources[node.name] = runner
            context.room = runner.room
            context.replaces = estate and estate.replaced(node.name, type(plugin))
        else:
            runner = wiring.nodes[node.name] = self._build_runner(node, plugin, outlets, place)
            if lent is not None:
                runner.turns = lent.turns
            elif self._is_replaceable and node.kind == "sink" and not node.parallel:
                runner.turns = Turns(node.concurrency)
        outlets.update(self._build_outlets(node, place, runner.end_failed))

    def _build_reentry(self, letters: Letters) -> SourceRunner:
        wiring = self._wiring
        ways = ways_in(self._plan.edges_to, wiring.channels, wiring.places, wiring.sources)
        plan = NodePlan(REPLAY, "source", "replay", Reentry, NoOptions(), ports=frozenset(map(repr, ways)))
        postbox = Postbox(letters, NOWHERE, REPLAY, REPLAY)
        return self._build_source(plan, Reentry(letters), ways, NOWHERE, postbox)

    def _build_source(
        self,
        node: NodePlan,
        plugin: Source,
        outlets: Mapping[Any, Any],
        place: Place,
        postbox: Postbox,
        checkpoint: Checkpointing | None = None,
    ) -> SourceRunner:
        shared = (self._wiring.book, self._wiring.faults, self._cancel, self._log, self._wiring.tracer)
        return SourceRunner(node, plugin, outlets, place, postbox, *shared, checkpoint)

    def _build_runner(
        self, node: NodePlan, plugin: Any, outlets: Mapping[str | None, Outlet], place: Place
    ) -> NodeRunner:
        wiring, plan = self._wiring, self._plan
        edges = plan.edges_to[node.name]
        channels, bells = [wiring.channels[edge.name] for edge in edges], self._bells[node.name]
        join = None if node.join is None else self._build_join(node, channels, place)
        live = any(plan.nodes[edge.source].live and not edge.port for edge in edges)
        intakes = build_intakes(node, channels, bells, join)
        runner = NodeRunner(
            node,
            plugin,
            channels,
            intakes,
            join,
            outlets,
            place,
            Postbox(wiring.letters, place, node.name, node.name),
            wiring.faults,
            wiring.unfinished,
            self._clock,
            takes_live=live,
        )
        if self._checkpoint is not None and node.kind == "sink" and type(plugin).position is not Sink.position:
            runner.once = self._checkpoint.once
        before = place
        if join is not None:
            join.on_expired, join.on_unfinished = runner.count_expired, runner.end_unfinished
            before = Place((join, *place.joins), (join,))
        self._places |= {edge.name: before for edge in edges}
        wiring.postboxes |= {edge.name: Postbox(wiring.letters, before, edge.target, edge.name) for edge in edges}
        return runner

    def _build_join(self, node: NodePlan, channels: list[Channel], place: Place) -> Join:
        # The nodes are built from the last to the first.
        return Join(node, channels, place, self._bells[node.name].shared, self._clock, -len(self._wiring.nodes))

    def _place_after(self, node: NodePlan) -> Place:
        """Give the place of a node: a record of its own never leaves over a best-effort edge."""
        edges = [edge for edge in self._plan.edges_from[node.name] if not edge.best_effort]
        return place_before(self._places[edge.name] for edge in edges)

    def _build_outlets(
        self, node: NodePlan, place: Place, on_failed: Callable[[Record, RecordError, Record | None], None]
    ) -> dict[str | None, Outlet]:
        outlets = {}
        edges = self._plan.edges_from[node.name]
        # A declared port has an outlet even if no edge leaves it: its records are unmatched.
        declared = () if node.kind == "sink" else (None, *node.ports)
        for port in dict.fromkeys([*declared, *(edge.port for edge in edges)]):
            branches = [self._build_branch(edge) for edge in edges if edge.port == port]
            outlets[port] = Outlet(place, branches, port == ERROR_PORT, node.fan_out, node.unmatched, on_failed)
        return outlets

    def _build_branch(self, edge: EdgePlan) -> Branch:
        wiring, name = self._wiring, edge.name
        return Branch(wiring.channels[name], self._places[name], wiring.postboxes[name], wiring.shadows.get(name))

    def _build_channel(self, edge: EdgePlan) -> Channel:
        if edge.best_effort:
            self._wiring.shadows[edge.name] = ShadowBook(self._cancel, self._wiring.book)
        bells = self._bells[edge.target]
        links = ChannelLinks(
            partial(self._on_lost, edge), self._clock, bells.shared, bells.lanes, self._plan.is_watched
        )
        transport = self._plan.transports.get(edge.via)
        return (Memory() if transport is None else transport.build()).build_channel(edge, links)

    def _context(self, name: str, plan: NodePlan | WorkerPlan | ExporterPlan) -> Context:
        metrics = Metrics()
        if not isinstance(plan, ExporterPlan):
            self._wiring.metrics[name] = metrics
        return Context(
            name=name,
            pipeline=self._plan.name,
            logger=self._log.bind(node=name),
            clock=self._clock,
            metrics=metrics,
            workers={worker: self._workers[worker] for worker in plan.workers},
            live=getattr(plan, "live", False),
            resumes=self._resumes,
            timeout_s=getattr(plan, "timeout_s", None),
            grants=self._grants,
            share=self._share,
        )

    def _cancel(self, ticket: Ticket) -> None:
        # Interrupt the work first: what it frees must not let one of the ticket's own records in.
        for interrupt in tuple(ticket.running or ()):
            interrupt()
        for channel in self._wiring.channels.values():
            channel.cancel(ticket)
        for join in self._wiring.joins:
            join.cancel(ticket)

    def _on_lost(self, edge: EdgePlan, record: Record, outcome: Outcome, reason: str) -> None:
        interrupted = reason == CANCELLED and not record.ticket.cancelled  # its sender was
        if interrupted or reason == ABANDONED:
            self._wiring.unfinished.note(record, edge.name)
            self._wiring.postboxes[edge.name].post(record, outcome, reason=UNFINISHED)
        elif outcome is Outcome.SHED and edge.dead_letter:
            self._wiring.postboxes[edge.name].post(record, outcome, reason=reason)
        else:
            self._places[edge.name].end(record, outcome, DeadlinePassed() if outcome is Outcome.EXPIRED else None)


def _built(name: str, build: Callable[[], Any]) -> Any:
    try:
        return build()
    except Exception as error:
        raise OpenFailed(name, error) from error
