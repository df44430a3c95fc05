"""Where the nodes of a plan stand: layers, and the order within each.

A node's layer is the length of the longest way to it from a source, so that every edge leads
to a later layer. Within the layers, nodes are ordered to let few edges cross: each moves to
the barycentre of its neighbours (Sugiyama, Tagawa and Toda, 1981), downwards and upwards in
turn, and the best order seen is kept. Ties keep the order of the plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagflow.graph.plan import Plan

_SWEEPS: Final = 6  # down and up count as two; small graphs settle after two or three

Layers = list[list[str]]


@dataclass(frozen=True)
class Layout:
    """Places of nodes. `layers[0]` holds sources; names within a layer go from first to last."""

    layers: tuple[tuple[str, ...], ...]

    @cached_property
    def places(self) -> Mapping[str, tuple[int, int]]:
        """Layer and index within the layer, of each node."""
        return {name: (depth, i) for depth, layer in enumerate(self.layers) for i, name in enumerate(layer)}


def build_layout(plan: Plan) -> Layout:
    """Place the nodes of a plan."""
    before = {name: [edge.source for edge in plan.edges_to[name]] for name in plan.nodes}
    after = {name: [edge.target for edge in plan.edges_from[name]] for name in plan.nodes}
    layers = best = _layers(before)
    for sweep in range(_SWEEPS):
        layers = _ordered(layers, before) if sweep % 2 == 0 else _ordered(layers[::-1], after)[::-1]
        if count_crossings(layers, after) < count_crossings(best, after):
            best = layers
    return Layout(tuple(tuple(layer) for layer in best))


def count_crossings(layers: Sequence[Sequence[str]], after: Mapping[str, Sequence[str]]) -> int:
    """Count the pairs of edges that cross, among edges that run between the same two layers."""
    place = {name: (depth, i) for depth, layer in enumerate(layers) for i, name in enumerate(layer)}
    arrows = [(place[source], place[target]) for source, targets in after.items() for target in targets]
    return sum(
        a[0][0] == b[0][0] and a[1][0] == b[1][0] and (a[0][1] - b[0][1]) * (a[1][1] - b[1][1]) < 0
        for a, b in combinations(arrows, 2)
    )


def _layers(before: Mapping[str, Sequence[str]]) -> Layers:
    depth: dict[str, int] = {}
    layers: Layers = []
    for name, parents in before.items():  # in plan order: parents come first
        depth[name] = max((depth[parent] + 1 for parent in parents), default=0)
        while len(layers) <= depth[name]:
            layers.append([])
        layers[depth[name]].append(name)
    return layers


def _ordered(layers: Layers, neighbours: Mapping[str, Sequence[str]]) -> Layers:
    """Reorder each layer by its neighbours in the layers before it."""
    position: dict[str, float] = {}
    ordered: Layers = []
    for layer in layers:
        # Positions are relative, since neighbours may stand in layers of different lengths.
        own = {name: (i + 0.5) / len(layer) for i, name in enumerate(layer)}
        weight = {name: _mean([position[n] for n in neighbours[name]], own[name]) for name in layer}
        ordered.append(sorted(layer, key=weight.__getitem__))
        position |= {name: (i + 0.5) / len(layer) for i, name in enumerate(ordered[-1])}
    return ordered


def _mean(numbers: Sequence[float], default: float) -> float:
    return sum(numbers) / len(numbers) if numbers else default
