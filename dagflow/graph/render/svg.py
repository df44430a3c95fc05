"""A plan as an SVG picture that needs nothing else: no script, no font, no address.

Each node is a group with its name in `data-node`, each edge one with its name, as in reports and
metrics, in `data-edge`; a program that shows a running pipeline may find them by these. What is
shortened in the picture stands whole in the group's title.
"""

from __future__ import annotations

import re
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from dagflow.graph.render.geometry import ARROW, build_geometry
from dagflow.graph.render.labels import edge_bound, edge_terms, node_terms, plan_counts, plan_limits
from dagflow.graph.render.lettering import edge_lines, live_edge_lines, live_node_lines, measure, node_lines
from dagflow.graph.render.style import build_style

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dagflow.graph.plan import EdgePlan, NodePlan, Plan
    from dagflow.graph.render.geometry import Box, Geometry, Point, Route
    from dagflow.graph.render.lettering import Line

_NODE_PADDING: Final = (16.0, 9.0)
_LABEL_PADDING: Final = (6.0, 2.0)
_ROUND: Final = 20.0  # the corners of a source
_CUT: Final = 12.0  # the corners of a sink
_ARROW_WIDTH: Final = 8.0
_NOT_IN_XML: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_svg(plan: Plan, live: bool = False, downward: bool | None = None) -> str:
    """Draw a plan; the same plan gives the same text.

    Args:
        live: leave lines free for what a running pipeline does, in place of settings, and all colours to the page
            that shows it.
        downward: whether the flow goes down, or to the right; by default as it can be shown larger.
    """
    nodes = {node.name: (live_node_lines if live else node_lines)(node) for node in plan.nodes.values()}
    edges = [(live_edge_lines if live else edge_lines)(edge) for edge in plan.edges]
    geometry = build_geometry(
        plan,
        {name: measure(lines, _NODE_PADDING) for name, lines in nodes.items()},
        [measure(lines, _LABEL_PADDING) for lines in edges],
        downward,
    )
    drawn = [
        *(_edge(*each, geometry.downward) for each in zip(plan.edges, edges, geometry.routes, strict=True)),
        *(_node(node, nodes[node.name], geometry.nodes[node.name]) for node in plan.nodes.values()),
    ]
    return "\n".join([*_opening(plan, geometry, styled=not live), *drawn, "</svg>"]) + "\n"


def _opening(plan: Plan, geometry: Geometry, styled: bool) -> list[str]:
    width, height = (_number(length) for length in geometry.size)
    return [
        '<svg xmlns="http://www.w3.org/2000/svg" class="dagflow" role="img" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f"<title>{_text(plan.name)}</title>",
        f"<desc>{_text(f'{plan_counts(plan)}; {plan_limits(plan)}')}</desc>",
        *([f"<style>\n{build_style()}</style>"] if styled else []),
        f'<rect class="paper" width="{width}" height="{height}"/>',
    ]


def _node(node: NodePlan, lines: Sequence[Line], box: Box) -> str:
    title = ", ".join([f"{node.name}: {node.kind} {node.type}", *node_terms(node)])
    return "\n".join(
        [
            f'<g class="node {node.kind}" data-node="{_text(node.name)}">',
            f"<title>{_text(title)}</title>",
            _outline(node.kind, box),
            *_lettering(lines, box),
            "</g>",
        ]
    )


def _edge(edge: EdgePlan, lines: Sequence[Line], route: Route, downward: bool) -> str:
    marks = [mark for mark, holds in (("error", edge.port == "error"), ("best-effort", edge.best_effort)) if holds]
    title = ", ".join([f"{edge.name}: {edge_bound(edge)}", *edge_terms(edge)])
    return "\n".join(
        [
            f'<g class="{" ".join(["edge", *marks])}" data-edge="{_text(edge.name)}">',
            f"<title>{_text(title)}</title>",
            f'<path class="line" d="{_way(route, downward)}"/>',
            f'<path class="arrow" d="{_arrow(route.runs[-1][1], downward)}"/>',
            f'<rect class="label" {_rectangle(route.label)} rx="4"/>',
            *_lettering(lines, route.label),
            "</g>",
        ]
    )


def _outline(kind: str, box: Box) -> str:
    """Draw a source with round corners, a sink with cut ones, and a stage with neither."""
    if kind == "sink":
        left, right, top, bottom = box.x, box.x + box.width, box.y, box.y + box.height
        corners = [(left + _CUT, top), (right - _CUT, top), (right, top + _CUT), (right, bottom - _CUT)]
        corners += [(right - _CUT, bottom), (left + _CUT, bottom), (left, bottom - _CUT), (left, top + _CUT)]
        return f'<path class="box" d="M{" L".join(map(_point, corners))} Z"/>'
    return f'<rect class="box" {_rectangle(box)} rx="{_number(_ROUND if kind == "source" else 3.0)}"/>'


def _lettering(lines: Sequence[Line], box: Box) -> Iterator[str]:
    x = box.x + box.width / 2
    y = box.y + (box.height - sum(line.height for line in lines)) / 2
    for line in lines:
        baseline = y + line.height / 2 + line.size * 0.35  # the middle of a letter without ascender
        place = f'x="{_number(x)}" y="{_number(baseline)}" font-size="{_number(line.size)}"'
        yield f'<text class="{line.role}" {place}>{_text(line.text)}</text>'
        y += line.height


def _way(route: Route, downward: bool) -> str:
    """Write the path of a line, up to where its arrow begins."""
    *runs, (start, tip) = route.runs
    runs.append((start, _moved(tip, -ARROW, downward)))
    parts = [f"M{_point(runs[0][0])} L{_point(runs[0][1])}"]
    for (_, end), (start, stop) in pairwise(runs):
        half = (start[1] - end[1] if downward else start[0] - end[0]) / 2
        bends = (_moved(end, half, downward), _moved(start, -half, downward), start)
        parts.append(f"C{' '.join(map(_point, bends))} L{_point(stop)}")
    return " ".join(parts)


def _arrow(tip: Point, downward: bool) -> str:
    x, y = _moved(tip, -ARROW, downward)
    half = _ARROW_WIDTH / 2
    base = [(x - half, y), (x + half, y)] if downward else [(x, y - half), (x, y + half)]
    return f"M{_point(tip)} L{' L'.join(map(_point, base))} Z"


def _moved(point: Point, by: float, downward: bool) -> Point:
    """Move a point along the flow."""
    return (point[0], point[1] + by) if downward else (point[0] + by, point[1])


def _rectangle(box: Box) -> str:
    sides = {"x": box.x, "y": box.y, "width": box.width, "height": box.height}
    return " ".join(f'{name}="{_number(length)}"' for name, length in sides.items())


def _point(point: Point) -> str:
    return f"{_number(point[0])},{_number(point[1])}"


def _number(length: float) -> str:
    return f"{length:.1f}".removesuffix(".0")


def _text(text: str) -> str:
    """Escape a text for content and attributes; what XML cannot hold is replaced."""
    return escape(_NOT_IN_XML.sub("\ufffd", text))
