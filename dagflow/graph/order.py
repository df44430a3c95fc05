"""Order: an order of the nodes in which every edge leads forward, or the cycles that forbid one.

networkx is only imported to name cycles: it takes longer to load than all else that a valid
file needs.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Link = tuple[str, str]


def forward_order(names: Iterable[str], links: Iterable[Link]) -> list[str] | None:
    """Sort the nodes so that every link leads forward; None if they form a cycle."""
    sorter: TopologicalSorter[str] = TopologicalSorter({name: [] for name in names})
    for start, end in links:
        sorter.add(end, start)
    try:
        return list(sorter.static_order())
    except CycleError:
        return None


def find_cycles(names: Sequence[str], links: Iterable[Link]) -> list[list[str]]:
    """Give one cycle for each knot of nodes that wait for each other, each from its first node on."""
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from(links)
    found = []
    for knot in nx.strongly_connected_components(graph):
        if len(knot) > 1 or any(graph.has_edge(name, name) for name in knot):
            inside = graph.subgraph(knot)
            cycle = [start for start, _ in nx.find_cycle(inside, source=min(knot, key=names.index))]
            turn = cycle.index(min(cycle, key=names.index))
            found.append(cycle[turn:] + cycle[:turn])
    return sorted(found, key=lambda cycle: names.index(cycle[0]))


def reachable(starts: Iterable[str], links: Iterable[Link]) -> set[str]:
    """Give the nodes that some of `starts` lead to, themselves included."""
    after: dict[str, list[str]] = {}
    for start, end in links:
        after.setdefault(start, []).append(end)
    found: set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += after.get(name, ())
    return found
