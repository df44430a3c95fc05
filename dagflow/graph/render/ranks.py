"""The ranks of a drawing with lines: nodes, and what keeps the way free for the lines between them.

Between two ranks of nodes lies a rank for the labels of edges. An edge is a chain of items, one
in each rank from its source to its target: the nodes, a label in one rank between, and bends in
all others. So a line that passes a rank has a place of its own there, as has a label, and
whoever sets items side by side without overlap has drawn no line through a box.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from dagflow.graph.render.layout import build_layout, order_layers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagflow.graph.plan import Plan


@dataclass(frozen=True, slots=True)
class Bend:
    """Where an edge passes a rank; `edge` is its index in the plan, and one bend carries its label."""

    edge: int
    rank: int
    labelled: bool


Item = str | Bend


@dataclass(frozen=True)
class Ranks:
    """Items of each rank from first to last, and of each edge from source to target.

    `before` and `after` hold the neighbours of each item in the ranks next to its own.
    """

    layers: Sequence[Sequence[Item]]
    chains: Sequence[Sequence[Item]]
    before: Mapping[Item, Sequence[Item]]
    after: Mapping[Item, Sequence[Item]]


def build_ranks(plan: Plan) -> Ranks:
    """Rank the nodes of a plan in even ranks, bends and labels between them, with few crossings."""
    depths = _depths(plan)
    chains = _chains(plan, depths)
    layers: list[list[Item]] = [[] for _ in range(2 * max(depths.values()) + 1)]
    for name, depth in depths.items():
        layers[2 * depth].append(name)
    before: Mapping[Item, list[Item]] = {name: [] for name in plan.nodes}
    after: Mapping[Item, list[Item]] = {name: [] for name in plan.nodes}
    for chain in chains:
        for bend in chain[1:-1]:
            layers[bend.rank].append(bend)
            before[bend], after[bend] = [], []
        for upper, lower in pairwise(chain):
            after[upper].append(lower)
            before[lower].append(upper)
    return Ranks(order_layers(layers, before, after), chains, before, after)


def _depths(plan: Plan) -> dict[str, int]:
    """Give each node its layer; one that has more edges ahead than behind stands as late as it can."""
    depths = {name: layer for name, (layer, _) in build_layout(plan).places.items()}
    for name in reversed(plan.nodes):
        targets = [edge.target for edge in plan.edges_from[name]]
        if len(targets) > len(plan.edges_to[name]):
            depths[name] = min(depths[target] for target in targets) - 1
    return {name: depths[name] for name in plan.nodes}


def _chains(plan: Plan, depths: Mapping[str, int]) -> list[list[Item]]:
    """Give the items of each edge; the label of a long one stands where the fewest others do."""
    crowd: dict[int, int] = defaultdict(int)
    spans = [range(2 * depths[edge.source] + 1, 2 * depths[edge.target]) for edge in plan.edges]
    labelled: dict[int, int] = {}
    for i in sorted(range(len(spans)), key=lambda i: len(spans[i])):
        labelled[i] = min(spans[i][::2], key=crowd.__getitem__)
        crowd[labelled[i]] += 1
    return [
        [edge.source, *(Bend(i, rank, rank == labelled[i]) for rank in spans[i]), edge.target]
        for i, edge in enumerate(plan.edges)
    ]
