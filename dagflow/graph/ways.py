"""Ways: which nodes and edges lead to which inputs of a join.

What leads to all inputs stands before the fork; what leads to some of them is on a branch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from dagflow.graph.draft import ERROR_PORT
from dagflow.graph.order import reachable
from dagflow.graph.promises import says_it_filters, splits_nothing

if TYPE_CHECKING:
    from dagflow.graph.draft import Draft
    from dagflow.graph.plan import EdgePlan


@dataclass(frozen=True, slots=True)
class Ways:
    """The ways to the inputs of one join.

    Attributes:
        inputs: the positions of the edges that go into it, in file order.
        nodes: for each input, the nodes that lead to it.
        edges: for each input, the edges that lead to it, itself included.
    """

    inputs: tuple[int, ...]
    nodes: tuple[frozenset[str], ...]
    edges: tuple[frozenset[int], ...]

    @property
    def branch_nodes(self) -> frozenset[str]:
        """The nodes that lead to some input, but not to all."""
        return frozenset().union(*self.nodes).difference(frozenset.intersection(*self.nodes))

    @property
    def all_edges(self) -> frozenset[int]:
        """The edges that lead to some input."""
        return frozenset().union(*self.edges)

    @property
    def branch_edges(self) -> list[int]:
        """The edges that lead to some input, but not to all, in file order."""
        return sorted(self.all_edges.difference(frozenset.intersection(*self.edges)))

    def own_nodes(self, one: int, other: int) -> tuple[frozenset[str], frozenset[str]]:
        """Give the nodes that lead to one of two inputs only, for each of the two."""
        return self.nodes[one] - self.nodes[other], self.nodes[other] - self.nodes[one]


def ways_to(name: str, draft: Draft) -> Ways:
    """Find the ways to the inputs of a node."""
    inputs = tuple(index for index, _ in draft.entering(name))
    back = [(edge.target, edge.source) for edge in draft.edges.values()]
    nodes = tuple(frozenset(reachable([draft.edges[index].source], back)) for index in inputs)
    edges = tuple(
        frozenset({index, *(i for i, edge in draft.edges.items() if edge.target in leading)})
        for index, leading in zip(inputs, nodes, strict=True)
    )
    return Ways(inputs, nodes, edges)


def meets(ways: Ways, draft: Draft) -> bool:
    """Whether some node may send branches of one record to two of the inputs."""
    return any(
        _parts(name, ways.edges[one], ways.edges[other], draft)
        for one, other in combinations(range(len(ways.inputs)), 2)
        for name in ways.nodes[one] & ways.nodes[other]
    )


def sheds(edge: EdgePlan) -> bool:
    """Whether an edge may lose records."""
    return edge.when_full != "block" or edge.block_timeout_s is not None or edge.max_wait_s is not None


def comes_surely(index: int, draft: Draft) -> bool:
    """Whether each record that reaches a join has a branch that comes over this edge into it, unless that is lost.

    So it is if no way leads to the join around the nodes that surely send one.
    """
    join = draft.edges[index].target
    senders = _senders(index, draft)
    sources = [name for name, kind in draft.kinds.items() if kind == "source" and name not in senders]
    links = [(e.source, e.target) for i, e in draft.edges.items() if i != index and e.source not in senders]
    return join not in reachable(sources, links)


def _senders(index: int, draft: Draft) -> set[str]:
    """Find the nodes of which each record that leaves them has a branch that comes over an edge.

    A stage that does not say that it filters is taken to filter nothing.
    """
    ends = reachable([draft.edges[index].target], [(edge.target, edge.source) for edge in draft.edges.values()])
    senders: set[str] = set()
    waiting = [draft.edges[index]]
    while waiting:
        edge = waiting.pop()
        if edge.source not in senders and not _skips(edge, ends, draft):
            senders.add(edge.source)
            if not says_it_filters(draft.nodes.get(edge.source)):
                waiting += [before for _, before in draft.entering(edge.source)]
    return senders


def _skips(edge: EdgePlan, ends: set[str], draft: Draft) -> bool:
    """Whether a record may leave a node otherwise than over this edge, and still come to one of the ends."""
    if edge.when is not None or edge.port is not None or edge.best_effort:
        return True
    ports, node = draft.by_port(edge.source), draft.nodes.get(edge.source)
    chosen = node is not None and node.fan_out == "first" and len(ports[None]) > 1
    return chosen or any(other.target in ends for port in ports if port is not None for _, other in ports[port])


def _parts(name: str, to_one: frozenset[int], to_other: frozenset[int], draft: Draft) -> bool:
    """Whether a node may send branches of one record over an edge of each of two sets."""
    node = draft.nodes.get(name)
    if node is None or not splits_nothing(node):
        return True  # what could not be read, or does not say, may do anything
    leaving = [(i, edge) for i, edge in draft.leaving(name) if not edge.best_effort and edge.port != ERROR_PORT]
    pairs = [(one, other) for i, one in leaving if i in to_one for j, other in leaving if j in to_other and i != j]
    return node.fan_out == "all" and any(one.port == other.port for one, other in pairs)
