"""Wiring: the runners, channels and plugins of one run, as they know each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagflow.channel.channel import Channel
    from dagflow.engine.book import Book
    from dagflow.engine.exporting import Exporting
    from dagflow.engine.faults import Faults, Unfinished
    from dagflow.engine.join import Join
    from dagflow.engine.letters import Letters
    from dagflow.engine.node_runner import NodeRunner
    from dagflow.engine.place import Place
    from dagflow.engine.postbox import Postbox
    from dagflow.engine.shadow import ShadowBook
    from dagflow.engine.source_runner import SourceRunner
    from dagflow.engine.spilling import Spilling
    from dagflow.inference.guarded import GuardedWorker
    from dagflow.inference.leasing import Leasing
    from dagflow.plugin import Context, Plugin
    from dagflow.telemetry.instruments import Metrics
    from dagflow.telemetry.tracing import Tracer


@dataclass(slots=True, kw_only=True)
class Roster:
    """The plugins that somebody opens and closes.

    Attributes:
        plugins: workers and nodes, each with its context, in the order of opening.
        workers: the workers behind their guards, by name; pools after their members.
        opened: of how many plugins `open` was called, or was not needed.
        borrowed: those that another run opened, and will close.
    """

    plugins: list[tuple[Plugin, Context]] = field(default_factory=list)
    workers: dict[str, GuardedWorker] = field(default_factory=dict)
    opened: int = 0
    borrowed: list[Plugin] = field(default_factory=list)

    def is_own(self, plugin: Plugin) -> bool:
        """Whether a plugin is its own to open, to close and to tell of."""
        return not any(plugin is other for other in self.borrowed)


@dataclass(slots=True)
class Wiring(Roster):
    """Everything of one run.

    Attributes:
        channels: by the name of their edge.
        shadows: the books of best-effort edges, by the name of the edge.
        letters: what keeps dead letters, if anything does.
        postboxes: those of the edges, by name; places: those before the targets of the edges.
        reentry: sends dead letters in, where somebody may ask for that.
        spilling: what takes care of edges that overflow to disk.
        exporters: what sends metrics, by name.
        tracer: what makes spans, if anything does.
        leasing: leases what limits allow that several programs share, if there are such.
    """

    book: Book
    faults: Faults
    unfinished: Unfinished
    letters: Letters | None = None
    spilling: Spilling | None = None
    postboxes: dict[str, Postbox] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)
    shadows: dict[str, ShadowBook] = field(default_factory=dict)
    sources: dict[str, SourceRunner] = field(default_factory=dict)
    nodes: dict[str, NodeRunner] = field(default_factory=dict)
    metrics: dict[str, Metrics] = field(default_factory=dict)
    exporters: dict[str, Exporting] = field(default_factory=dict)
    tracer: Tracer | None = None
    leasing: Leasing | None = None
    places: dict[str, Place] = field(default_factory=dict)
    reentry: SourceRunner | None = None

    @property
    def own_workers(self) -> dict[str, GuardedWorker]:
        """The workers that are this run's to tell of."""
        return {name: worker for name, worker in self.workers.items() if self.is_own(worker.plugin)}

    @property
    def joins(self) -> list[Join]:
        """The joins, in an order in which each leads forward."""
        return [node.join for node in reversed(self.nodes.values()) if node.join is not None]
