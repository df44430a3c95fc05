"""Positions within ranks: lines straight where they can be, nodes in the middle of what they join.

The method of Brandes and Köpf ("Fast and Simple Horizontal Coordinate Assignment", 2002). Items
are aligned with the median of their neighbours into blocks, which stand on one line; blocks are
then packed. That is done four times, from either end of the ranks and from either side of them,
and each item stands in the middle of its four positions. All four keep the order and the
distances, and so does the middle.
"""

from __future__ import annotations

from collections import defaultdict
from graphlib import TopologicalSorter
from itertools import combinations, pairwise, product
from typing import TYPE_CHECKING

from dagflow.graph.render.layout import find_places
from dagflow.graph.render.ranks import Bend

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dagflow.graph.render.ranks import Item, Ranks

    Positions = dict[Item, float]
    Distance = Callable[[Item, Item], float]
    Layers = Sequence[Sequence[Item]]


def place_across(ranks: Ranks, distance: Distance) -> Positions:
    """Give each item a position across its rank; neighbours stand at least `distance` apart."""
    crossed = _crossed_lines(ranks)
    candidates = []
    for backward, mirrored in product((False, True), repeat=2):
        layers = [layer[::-1] if mirrored else layer for layer in ranks.layers]
        near = ranks.after if backward else ranks.before
        blocks = _align(layers[::-1] if backward else layers, near, crossed)
        packed = _pack(layers, blocks, distance)
        candidates.append({item: -x if mirrored else x for item, x in packed.items()})
    return _middle(candidates)


def _crossed_lines(ranks: Ranks) -> set[tuple[Item, Item]]:
    """Find the lines at a node that cross a line between two bends: the long line stays straight."""
    places = {item: place for item, (_, place) in find_places(ranks.layers).items()}
    crossed = set()
    for layer in ranks.layers:
        lines = [(item, other) for item in layer for other in ranks.after[item]]
        for a, b in combinations(lines, 2):
            if (places[a[0]] - places[b[0]]) * (places[a[1]] - places[b[1]]) < 0 and _is_inner(a) != _is_inner(b):
                crossed.add(b if _is_inner(a) else a)
    return crossed | {(lower, upper) for upper, lower in crossed}


def _is_inner(line: tuple[Item, Item]) -> bool:
    return isinstance(line[0], Bend) and isinstance(line[1], Bend)


def _align(layers: Layers, near: Mapping[Item, Sequence[Item]], crossed: set[tuple[Item, Item]]) -> dict[Item, Item]:
    """Give each item its block, which is named after its first item."""
    block = {item: item for layer in layers for item in layer}
    places = {item: place for item, (_, place) in find_places(layers).items()}
    for layer in layers:
        last = -1
        for item in layer:
            others = sorted(near[item], key=places.__getitem__)
            for other in others[(len(others) - 1) // 2 : len(others) // 2 + 1]:  # one median, or two
                if block[item] == item and places[other] > last and (other, item) not in crossed:
                    block[item], last = block[other], places[other]
    return block


def _pack(layers: Layers, block: Mapping[Item, Item], distance: Distance) -> Positions:
    """Set blocks as far to the left as they go, then each as far to the right as its neighbours let it."""
    left: dict[Item, dict[Item, float]] = {name: {} for name in block.values()}
    right: dict[Item, dict[Item, float]] = defaultdict(dict)
    for layer in layers:
        for one, other in pairwise(layer):
            apart = max(distance(one, other), left[block[other]].get(block[one], 0))
            left[block[other]][block[one]] = right[block[one]][block[other]] = apart
    order = list(TopologicalSorter(left).static_order())
    x: Positions = {}
    for name in order:
        x[name] = max((x[other] + apart for other, apart in left[name].items()), default=0.0)
    for name in reversed(order):
        x[name] = min((x[other] - apart for other, apart in right[name].items()), default=x[name])
    return {item: x[name] for item, name in block.items()}


def _middle(candidates: Sequence[Positions]) -> Positions:
    """Take the mean of the two middle positions of each item, with all drawings moved onto the narrowest."""
    narrowest = min(candidates, key=lambda xs: max(xs.values()) - min(xs.values()))
    moved = []
    for i, xs in enumerate(candidates):
        end = max if i % 2 else min  # what was packed from the right is moved to the right
        by = end(narrowest.values()) - end(xs.values())
        moved.append({item: x + by for item, x in xs.items()})
    return {item: sum(sorted(xs[item] for xs in moved)[1:3]) / 2 for item in candidates[0]}
