"""Ways: which nodes and edges lead to which inputs of a join.

What leads to all inputs stands before the fork; what leads to some of them is on a branch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING

from dagflow.graph.draft import ERROR_PORT
from dagflow.graph.order import reachable
from dagflow.graph.promises import splits_nothing

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    pairs = list(combinations(range(len(ways.inputs)), 2))
    shared = {name for one, other in pairs for name in ways.nodes[one] & ways.nodes[other]}
    # What could not be read, or does not say that it makes one record of one, may do anything.
    return not all(splits_nothing(draft.nodes.get(name)) for name in shared) or any(
        True for one, other in pairs for _ in partings(ways, one, other, draft)
    )


def partings(ways: Ways, one: int, other: int, draft: Draft) -> Iterator[tuple[EdgePlan, EdgePlan]]:
    """Give the pairs of edges over which a node may send branches of one record to both of two inputs."""
    for name in ways.nodes[one] & ways.nodes[other] & draft.nodes.keys():
        leaving = [(i, edge) for i, edge in draft.leaving(name) if not edge.best_effort and edge.port != ERROR_PORT]
        to_one = [(i, edge) for i, edge in leaving if i in ways.edges[one]]
        to_other = [(i, edge) for i, edge in leaving if i in ways.edges[other]]
        for (i, left), (j, right) in product(to_one, to_other):
            if i != j and draft.nodes[name].fan_out == "all" and left.port == right.port:
                yield left, right


def inner_branches(name: str, ways: Ways, draft: Draft) -> tuple[frozenset[str], frozenset[int]]:
    """Give the nodes and edges on branches of earlier joins that lead here only through these, which deal with them."""
    nodes: set[str] = set()
    edges: set[int] = set()
    before = frozenset().union(*ways.nodes) & draft.nodes.keys()
    for inner in (one for one in before if draft.nodes[one].join is not None):
        links = [(edge.source, edge.target) for edge in draft.edges.values() if inner not in (edge.source, edge.target)]
        inside = ways_to(inner, draft)
        nodes |= {one for one in inside.branch_nodes if name not in reachable([one], links)}
        leading = {index: draft.edges[index].target for index in inside.branch_edges}
        edges |= {i for i, end in leading.items() if end == inner or name not in reachable([end], links)}
    return frozenset(nodes), frozenset(edges)


def sheds(edge: EdgePlan) -> bool:
    """Whether an edge may lose records."""
    return edge.drops or edge.block_timeout_s is not None or edge.max_wait_s is not None
