"""Where everything of a drawing lies: boxes of nodes and labels, and the ways of lines.

It knows sizes, and neither words nor colours. Lengths are in pixels, `x` grows to the right and
`y` downwards. No two boxes overlap, and no line enters a box but those of its ends and of its own
label: within a rank a line runs straight, in a place of its own, and it bends only between ranks,
where nothing else is.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from dagflow.graph.render.lanes import find_lanes, side_for
from dagflow.graph.render.positions import place_across
from dagflow.graph.render.ranks import Bend, build_ranks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagflow.graph.plan import Plan
    from dagflow.graph.render.ranks import Item, Ranks

ARROW: Final = 9.0  # length of an arrow head; the last bend of a line ends before it

Size = tuple[float, float]  # width and height
Point = tuple[float, float]

_MARGIN: Final = 20.0
_LINE: Final = 2.0  # what a line takes of a rank that it passes
_NODE_GAP: Final = 28.0  # between nodes that stand side by side
_GAP: Final = 18.0  # between all else that stands side by side
_RANK_GAP: Final = (24.0, 80.0)  # between ranks: the least, and the most that steep lines get
_SLOPE: Final = 0.16  # how much of its way across the flow a line gets along the flow
_WINDOW: Final = (1500.0, 1000.0)  # what a drawing should fit into


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, by its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    def turned(self) -> Box:
        """Change x and y."""
        return Box(self.y, self.x, self.height, self.width)


@dataclass(frozen=True, slots=True)
class Route:
    """The way of an edge: straight runs along the flow, with a curve from each to the next."""

    runs: Sequence[tuple[Point, Point]]
    label: Box

    def turned(self) -> Route:
        """Change x and y."""
        return Route([(a[::-1], b[::-1]) for a, b in self.runs], self.label.turned())


@dataclass(frozen=True)
class Geometry:
    """A whole drawing. `routes` has the order of the plan's edges; `downward` says where the flow goes."""

    size: Size
    nodes: Mapping[str, Box]
    routes: Sequence[Route]
    downward: bool = False

    def turned(self) -> Geometry:
        """Change x and y."""
        nodes = {name: box.turned() for name, box in self.nodes.items()}
        return Geometry(self.size[::-1], nodes, [route.turned() for route in self.routes], not self.downward)


def build_geometry(
    plan: Plan, nodes: Mapping[str, Size], labels: Sequence[Size], downward: bool | None = None
) -> Geometry:
    """Lay a plan out.

    Args:
        nodes: the size of each node.
        labels: the size of each edge's label.
        downward: whether the flow goes down, or to the right; by default whichever can be shown larger.
    """
    ranks = build_ranks(plan)
    flat = {name: size[::-1] for name, size in nodes.items()}
    drawings = [] if downward is False else [_lay_out(ranks, flat, [size[::-1] for size in labels]).turned()]
    drawings += [] if downward else [_lay_out(ranks, nodes, labels)]
    return max(drawings, key=lambda drawing: _scale(drawing.size))


def _scale(size: Size) -> float:
    return min(1.0, _WINDOW[0] / size[0], _WINDOW[1] / size[1])


def _lay_out(ranks: Ranks, nodes: Mapping[str, Size], labels: Sequence[Size]) -> Geometry:
    """Lay out with the flow to the right: a rank is a column, and nodes grow with the lines at their sides."""
    nodes = {name: (width, max(height, _side(ranks, name))) for name, (width, height) in nodes.items()}
    sizes = {item: _size(item, nodes, labels) for layer in ranks.layers for item in layer}
    y = place_across(ranks, lambda one, other: _distance(one, other, sizes))
    top = min(y[item] - size[1] / 2 for item, size in sizes.items()) - _MARGIN
    y = {item: place - top for item, place in y.items()}
    lanes = find_lanes(ranks, y, {name: size[1] for name, size in nodes.items()})
    columns = _columns(ranks, sizes, lanes)
    boxes = {
        item: _box((sum(column) / 2, y[item]), sizes[item])
        for layer, column in zip(ranks.layers, columns, strict=True)
        for item in layer
    }
    routes = [_route(chain, lane, columns, boxes) for chain, lane in zip(ranks.chains, lanes, strict=True)]
    bottom = max(box.y + box.height for box in boxes.values())
    return Geometry((columns[-1][1] + _MARGIN, bottom + _MARGIN), {name: boxes[name] for name in nodes}, routes)


def _side(ranks: Ranks, name: str) -> float:
    return side_for(max(len(ranks.before[name]), len(ranks.after[name])))


def _size(item: Item, nodes: Mapping[str, Size], labels: Sequence[Size]) -> Size:
    if isinstance(item, Bend):
        return labels[item.edge] if item.labelled else (0.0, _LINE)
    return nodes[item]


def _distance(one: Item, other: Item, sizes: Mapping[Item, Size]) -> float:
    gap = _GAP if isinstance(one, Bend) or isinstance(other, Bend) else _NODE_GAP
    return (sizes[one][1] + sizes[other][1]) / 2 + gap


def _columns(ranks: Ranks, sizes: Mapping[Item, Size], lanes: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """Give the left and the right end of each rank; steep lines move ranks apart."""
    steepest = [0.0] * len(ranks.layers)
    for chain, lane in zip(ranks.chains, lanes, strict=True):
        for i, (y, beside) in enumerate(pairwise(lane), chain[1].rank):
            steepest[i] = max(steepest[i], abs(y - beside))
    columns: list[tuple[float, float]] = []
    x = _MARGIN
    for layer, steep in zip(ranks.layers, [*steepest[1:], 0.0], strict=True):
        columns.append((x, x + max(sizes[item][0] for item in layer)))
        x = columns[-1][1] + min(max(_SLOPE * steep, _RANK_GAP[0]), _RANK_GAP[1])
    return columns


def _box(middle: Point, size: Size) -> Box:
    return Box(middle[0] - size[0] / 2, middle[1] - size[1] / 2, *size)


def _route(
    chain: Sequence[Item], lane: Sequence[float], columns: Sequence[tuple[float, float]], boxes: Mapping[Item, Box]
) -> Route:
    bends = [item for item in chain if isinstance(item, Bend)]
    start, end = boxes[chain[0]], boxes[chain[-1]]
    spans = [
        (start.x + start.width, columns[bends[0].rank - 1][1]),
        *(columns[bend.rank] for bend in bends),
        (columns[bends[-1].rank + 1][0] - ARROW, end.x),
    ]
    label = next(bend for bend in bends if bend.labelled)
    return Route(_runs(spans, lane), boxes[label])


def _runs(spans: Sequence[tuple[float, float]], lane: Sequence[float]) -> list[tuple[Point, Point]]:
    """Give the run through each span; those that lie on one line are one."""
    runs: list[tuple[Point, Point]] = []
    for (left, right), y in zip(spans, lane, strict=True):
        if runs and abs(runs[-1][1][1] - y) < 0.5:
            runs[-1] = runs[-1][0], (right, runs[-1][1][1])
        else:
            runs.append(((left, y), (right, y)))
    return runs
