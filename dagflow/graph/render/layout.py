"""Where the nodes of a plan stand: layers, and the order within each.

A node's layer is the length of the longest way to it from a source, so that every edge leads
to a later layer. Within the layers, nodes are ordered to let few edges cross: each moves to
the barycentre of its neighbours (Sugiyama, Tagawa and Toda, 1981), downwards and upwards in
turn, neighbours that would cross less the other way round change places, and the best order
seen is kept. Ties keep the order of the plan.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagflow.graph.plan import Plan

    Neighbours = Mapping[Any, Sequence[Any]]

_SWEEPS: Final = 12  # down and up count as two; small graphs settle after two or three

# What is ordered: names of nodes here, and more than nodes where edges are drawn, too.
Layers = list[list[Any]]


@dataclass(frozen=True)
class Layout:
    """Places of nodes. `layers[0]` holds sources; names within a layer go from first to last."""

    layers: tuple[tuple[str, ...], ...]

    @cached_property
    def places(self) -> Mapping[str, tuple[int, int]]:
        """Layer and index within the layer, of each node."""
        return find_places(self.layers)


def build_layout(plan: Plan) -> Layout:
    """Place the nodes of a plan."""
    before = {name: [edge.source for edge in plan.edges_to[name]] for name in plan.nodes}
    after = {name: [edge.target for edge in plan.edges_from[name]] for name in plan.nodes}
    return Layout(tuple(tuple(layer) for layer in order_layers(_layers(before), before, after)))


def order_layers(layers: Layers, before: Neighbours, after: Neighbours) -> Layers:
    """Reorder each layer, to let few edges cross; `before` and `after` give the neighbours of each item."""
    best, fewest = layers, count_crossings(layers, after)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        layers = _ordered(layers, before) if sweep % 2 == 0 else _ordered(layers[::-1], after)[::-1]
        layers = _swapped(layers, (before, after))
        crossings = count_crossings(layers, after)
        if crossings < fewest:
            best, fewest = layers, crossings
    return best


def count_crossings(layers: Sequence[Sequence[Any]], after: Neighbours) -> int:
    """Count the pairs of edges that cross, among edges that run between the same two layers."""
    places = find_places(layers)
    arrows: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for source, targets in after.items():
        for target in targets:
            arrows[places[source][0], places[target][0]].append((places[source][1], places[target][1]))
    return sum(_inversions([end for _, end in sorted(pairs)]) for pairs in arrows.values())


def find_places(layers: Sequence[Sequence[Any]]) -> dict[Any, tuple[int, int]]:
    """Give the layer and the index within the layer, of each item."""
    return {item: (depth, i) for depth, layer in enumerate(layers) for i, item in enumerate(layer)}


def _inversions(numbers: Sequence[int]) -> int:
    seen: list[int] = []
    found = 0
    for number in numbers:
        found += len(seen) - bisect_right(seen, number)
        insort(seen, number)
    return found


def _layers(before: Neighbours) -> Layers:
    depth: dict[str, int] = {}
    layers: Layers = []
    for name, parents in before.items():  # in plan order: parents come first
        depth[name] = max((depth[parent] + 1 for parent in parents), default=0)
        while len(layers) <= depth[name]:
            layers.append([])
        layers[depth[name]].append(name)
    return layers


def _ordered(layers: Layers, neighbours: Neighbours) -> Layers:
    """Reorder each layer by its neighbours in the layers before it."""
    position: dict[Any, float] = {}
    ordered: Layers = []
    for layer in layers:
        # Positions are relative, since neighbours may stand in layers of different lengths.
        own = {item: (i + 0.5) / len(layer) for i, item in enumerate(layer)}
        weight = {item: _mean([position[n] for n in neighbours[item]], own[item]) for item in layer}
        ordered.append(sorted(layer, key=weight.__getitem__))
        position |= {item: (i + 0.5) / len(layer) for i, item in enumerate(ordered[-1])}
    return ordered


def _swapped(layers: Layers, sides: tuple[Neighbours, Neighbours]) -> Layers:
    """Let items that stand side by side change places where that leaves fewer crossings."""
    swapped = [list(layer) for layer in layers]
    places = find_places(swapped)
    for layer in swapped:
        for i in range(len(layer) - 1):
            one, other = layer[i], layer[i + 1]
            near = [([places[n] for n in side[one]], [places[n] for n in side[other]]) for side in sides]
            if sum(_crossed(a, b) for a, b in near) > sum(_crossed(b, a) for a, b in near):
                layer[i : i + 2] = other, one
                places[one], places[other] = places[other], places[one]
    return swapped


def _crossed(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> int:
    """Count the crossings of the edges of an item with those of the item to its right, on one side."""
    return sum(a[0] == b[0] and a[1] > b[1] for a in left for b in right)


def _mean(numbers: Sequence[float], default: float) -> float:
    return sum(numbers) / len(numbers) if numbers else default
