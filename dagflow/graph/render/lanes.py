"""The lanes of lines: where each passes every rank, and where it leaves and enters its nodes.

A lane is a position across the flow for each item of an edge's chain. At a node, lines are
spread over its side: each as near to where it comes from or goes to as the side allows, in the
order of the other ends, so that lines at one node do not cross each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagflow.graph.render.ranks import Item, Ranks

_CORNER: Final = 14.0  # of each side of a node, kept free at both ends
_APART: Final = (10.0, 14.0)  # between lines at a node: the least, and what they get where there is room


def side_for(lines: int) -> float:
    """Say how long a side of a node must be for so many lines."""
    return 2 * _CORNER + (lines - 1) * _APART[0] if lines else 0.0


def find_lanes(ranks: Ranks, across: Mapping[Item, float], breadths: Mapping[str, float]) -> list[list[float]]:
    """Give a position for each item of each edge's chain; `breadths` says how long the sides of nodes are."""
    lanes = [[across[item] for item in chain] for chain in ranks.chains]
    for end, beside in ((0, 1), (-1, -2)):
        at: dict[Item, list[int]] = {}
        for edge, chain in enumerate(ranks.chains):
            at.setdefault(chain[end], []).append(edge)
        for node, edges in at.items():
            edges.sort(key=[lane[beside] for lane in lanes].__getitem__)
            reach = max(breadths[node] / 2 - _CORNER, 0.0)
            places = spread([lanes[edge][beside] for edge in edges], across[node] - reach, across[node] + reach)
            for edge, place in zip(edges, places, strict=True):
                lanes[edge][end] = place
    return lanes


def spread(wanted: Sequence[float], least: float, most: float) -> list[float]:
    """Move ascending places into a span and apart, evenly to either side."""
    apart = min(_APART[1], (most - least) / max(len(wanted) - 1, 1))
    inside = [min(max(place, least), most) for place in wanted]
    rising = _pushed(inside, apart)
    falling = [-place for place in _pushed([-place for place in inside[::-1]], apart)][::-1]
    last = len(inside) - 1
    return [
        min(max((up + down) / 2, least + i * apart), most - (last - i) * apart)
        for i, (up, down) in enumerate(zip(rising, falling, strict=True))
    ]


def _pushed(places: Sequence[float], apart: float) -> list[float]:
    pushed: list[float] = []
    for place in places:
        pushed.append(max(place, pushed[-1] + apart) if pushed else place)
    return pushed
