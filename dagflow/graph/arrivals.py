"""Arrivals: over which edges a branch surely comes to a join, if nothing is lost on its way.

A stage that chooses between two ways which both lead there keeps nothing from it. What a stage does
that could not be read is not held against it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.graph.draft import ERROR_PORT
from dagflow.graph.order import reachable
from dagflow.graph.promises import says_it_filters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dagflow.graph.draft import Draft
    from dagflow.graph.plan import EdgePlan, NodePlan


class Arrivals:
    """What surely comes to one join over one of some edges. The graph has no cycles."""

    def __init__(self, join: str, inputs: Iterable[int], draft: Draft) -> None:
        self._join = join
        self._inputs = frozenset(inputs)
        self._draft = draft
        self._known: dict[str, bool] = {}

    @property
    def are_sure(self) -> bool:
        """Whether each record that comes to the join at all comes over one of the edges."""
        return all(any(map(self._sends, self._passed(source))) for source in self._sources())

    def _sources(self) -> Iterator[str]:
        links = [(edge.source, edge.target) for edge in self._draft.edges.values()]
        sources = (name for name, kind in self._draft.kinds.items() if kind == "source")
        return (source for source in sources if self._join in reachable([source], links))

    def _passed(self, source: str) -> Iterator[str]:
        """Give the nodes that every record of a source passes which comes to the join."""
        edges = self._draft.edges.values()
        for name in self._draft.kinds:
            links = [(edge.source, edge.target) for edge in edges if name not in (edge.source, edge.target)]
            if name == source or (name != self._join and self._join not in reachable([source], links)):
                yield name

    def _leads(self, name: str) -> bool:
        """Whether each record that a node gets goes on to one of the edges, or is lost."""
        if name not in self._known:
            self._known[name] = not says_it_filters(self._draft.nodes.get(name)) and self._sends(name)
        return self._known[name]

    def _sends(self, name: str) -> bool:
        """Whether each record that leaves a node goes on to one of the edges, or is lost."""
        ports = self._draft.by_port(name)
        chosen = [edges for port, edges in ports.items() if port != ERROR_PORT or self._lead_here(edges)]
        return bool(chosen) and all(self._port_leads(self._draft.nodes.get(name), edges) for edges in chosen)

    def _lead_here(self, edges: list[tuple[int, EdgePlan]]) -> bool:
        """Whether what an error port takes may still come to the join: then it is not lost."""
        links = [(edge.source, edge.target) for edge in self._draft.edges.values()]
        return self._join in reachable([edge.target for _, edge in edges], links)

    def _port_leads(self, node: NodePlan | None, edges: list[tuple[int, EdgePlan]]) -> bool:
        chosen = [(index, edge) for index, edge in edges if not edge.best_effort]
        always = [edge.when is None for _, edge in chosen]
        if node is not None and node.fan_out == "first":
            chosen = chosen[: always.index(True) + 1] if any(always) else chosen
        elif any(always):  # all of these are taken, so that one of them is enough
            return any(self._edge_leads(index, edge) for index, edge in chosen if edge.when is None)
        lost = node is None or node.unmatched == "fail" or any(always)
        return bool(chosen) and lost and all(self._edge_leads(index, edge) for index, edge in chosen)

    def _edge_leads(self, index: int, edge: EdgePlan) -> bool:
        return index in self._inputs or self._leads(edge.target)
