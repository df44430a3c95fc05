"""Draft: what could be understood of a file, for the checks that follow.

A draft may have holes. A node that could not be built is known by its kind alone, and an edge
whose ends are not both known is left out; checks stay silent about what depends on a hole, so
that one mistake gives one diagnostic.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dagflow.config.keys import Key
    from dagflow.config.tables import PipelineTable
    from dagflow.graph.plan import EdgePlan, ExporterPlan, Kind, NodePlan, WorkerPlan
    from dagflow.graph.transport_plan import TransportPlan

ERROR_PORT = "error"


@dataclass(slots=True)
class Draft:
    """The pipeline as far as it was understood.

    Attributes:
        tables: the engine's tables that are right, by their key; those of edges with defaults filled in.
        kinds: all nodes of the file, in its order.
        nodes: those that could be built.
        edges: by position in the file, those that lead from one node to another.
        edges_lost: whether an edge had to be left out.
        strays: names of nodes and workers that stand in the file in a wrong place.
        nameless: whether one lacks its name.
        worker_names: all workers of the file.
        workers: those that could be built.
        transports: by name, those of the file that could be built, and others that edges name.
        exporters: those of the file that could be built.
    """

    tables: dict[Key, Any] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    nodes: dict[str, NodePlan] = field(default_factory=dict)
    edges: dict[int, EdgePlan] = field(default_factory=dict)
    edges_lost: bool = False
    strays: set[str] = field(default_factory=set)
    nameless: bool = False
    worker_names: tuple[str, ...] = ()
    workers: dict[str, WorkerPlan] = field(default_factory=dict)
    transports: dict[str, TransportPlan] = field(default_factory=dict)
    exporters: dict[str, ExporterPlan] = field(default_factory=dict)

    @property
    def pipeline(self) -> PipelineTable | None:
        """The engine's settings; None if they are wrong."""
        return self.tables.get(("pipeline",))

    def leaving(self, name: str) -> Iterator[tuple[int, EdgePlan]]:
        """Give the edges that leave a node, by any port."""
        return ((index, edge) for index, edge in self.edges.items() if edge.source == name)

    def entering(self, name: str) -> Iterator[tuple[int, EdgePlan]]:
        """Give the edges that go into a node."""
        return ((index, edge) for index, edge in self.edges.items() if edge.target == name)

    def by_port(self, name: str) -> Mapping[str | None, list[tuple[int, EdgePlan]]]:
        """Give the edges that leave a node, by port."""
        ports: dict[str | None, list[tuple[int, EdgePlan]]] = {}
        for index, edge in self.leaving(name):
            ports.setdefault(edge.port, []).append((index, edge))
        return ports

    def is_stray(self, name: str) -> bool:
        """Whether a name that is not known may be that of a node or worker in a wrong place."""
        return self.nameless or name in self.strays

    def label(self, name: str) -> str:
        """Name a node with its kind, for messages."""
        return f"{self.kinds[name]} `{name}`"

    def node_key(self, name: str) -> Key:
        """Give the key of a node's table."""
        return (f"{self.kinds[name]}s", name)

    def mark_live(self) -> None:
        """Set `live` of each stage that could be built."""
        for name, node in self.nodes.items():
            if node.kind == "stage":
                self.nodes[name] = replace(node, live=self._is_live(name))

    def _is_live(self, name: str) -> bool:
        """Whether all that follows a stage forwards a completion chunk by chunk.

        That takes one plain edge from node to node. A condition would look at a completion
        that is not there yet; a transport, a join, a dead letter and a disk want whole ones.
        """
        edges = [edge for _, edge in self.leaving(name) if edge.port != ERROR_PORT]
        plain = len(edges) == 1 and edges[0].port is None and edges[0].when is None and edges[0].via == "memory"
        after = self.nodes.get(edges[0].target) if plain else None
        if after is None or after.join is not None or edges[0].dead_letter or edges[0].spill is not None:
            return False
        return after.forwards and (after.kind == "sink" or self._is_live(after.name))


def edge_key(index: int, *names: str) -> Key:
    """Give the key of an edge, or of one of its values."""
    return ("pipeline", "edges", index, *names)
