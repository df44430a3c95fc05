"""A plan as text for a terminal: one line a node, one line an edge, rails on the left.

    ● questions  source  jsonl
    │   --[512 block]--> rag
    ● rag        stage   retrieve  concurrency 4, timeout 1s

Branches are followed to their end or to a merge before the next one begins, so that what
belongs together stands together. Each edge names its target: the drawing can be read without
the rails, and they are left out where they would take too much of the width.
"""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Final

from dagflow.graph.render.labels import edge_bound, edge_terms, node_terms, plan_counts, plan_limits
from dagflow.graph.render.layout import build_layout
from dagflow.graph.render.rails import Rails, below, render_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.graph.plan import EdgePlan, NodePlan, Plan
    from dagflow.graph.render.rails import Row

_LEAST_TEXT: Final = 48  # columns; rails that leave less than this are left out
_EDGE_INDENT: Final = "  "
_WIDEST_COLUMN: Final = 24

# One line to be drawn: its rails, those of the lines that go on with it, and its words.
_Line = tuple["Row", "Row", str]


def render_text(plan: Plan, width: int = 100, *, ascii_only: bool = False) -> str:
    """Draw a plan in lines of at most `width` columns, of which there should be 60 or more."""
    lines = list(_lines(plan))
    rails_width = 2 * max((len(row) for row, _, _ in lines), default=0)
    if rails_width > width - _LEAST_TEXT:
        rails_width = 0
    drawn = [*wrap(f"{plan.name}: {plan_counts(plan)}", width), *wrap(plan_limits(plan), width), ""]
    for line in lines:
        drawn += _draw(line, rails_width, width, ascii_only)
    return "\n".join([*drawn, *_workers(plan, width)]) + "\n"


def walk(plan: Plan) -> list[NodePlan]:
    """Order the nodes for reading: after all before them, and each branch in one piece."""
    places = build_layout(plan).places
    missing = {name: len(edges) for name, edges in plan.edges_to.items()}
    ready = sorted((name for name, count in missing.items() if not count), key=places.__getitem__, reverse=True)
    order = []
    while ready:
        name = ready.pop()
        order.append(plan.nodes[name])
        freed = []
        for edge in plan.edges_from[name]:
            missing[edge.target] -= 1
            if not missing[edge.target]:
                freed.append(edge.target)
        ready += sorted(freed, key=places.__getitem__, reverse=True)
    return order


def _lines(plan: Plan) -> Iterator[_Line]:
    rails = Rails()
    order = walk(plan)
    widths = _column_widths(order)
    for node in order:
        row = rails.node(node.name)
        edges = plan.edges_from[node.name]
        edge_rows = rails.edges(node.name, [edge.target for edge in edges])
        yield row, below(row, node_goes_on=bool(edges)), _node_words(node, widths)
        for edge, edge_row in zip(edges, edge_rows, strict=True):
            yield edge_row, below(edge_row), _EDGE_INDENT + _edge_words(edge)


def _column_widths(nodes: list[NodePlan]) -> tuple[int, int]:
    names = max((len(node.name) for node in nodes), default=0)
    types = max((len(node.type) for node in nodes), default=0)
    return min(names, _WIDEST_COLUMN), min(types, _WIDEST_COLUMN)


def _node_words(node: NodePlan, widths: tuple[int, int]) -> str:
    name, type_name = node.name.ljust(widths[0]), node.type.ljust(widths[1])
    return f"{name}  {node.kind:<6}  {type_name}  {', '.join(node_terms(node))}".rstrip()


def _edge_words(edge: EdgePlan) -> str:
    port = f"{edge.port} " if edge.port else ""
    return ", ".join([f"{port}--[{edge_bound(edge)}]--> {edge.target}", *edge_terms(edge)])


def _workers(plan: Plan, width: int) -> list[str]:
    if not plan.workers:
        return []
    terms = ", ".join(f"{worker.name} ({worker.type})" for worker in plan.workers.values())
    return ["", *wrap(f"workers: {terms}", width, subsequent_indent="  ")]


def _draw(line: _Line, rails_width: int, width: int, ascii_only: bool) -> list[str]:
    row, through, words = line
    indent = " " * (len(words) - len(words.lstrip()))
    hanging = indent + _EDGE_INDENT * 2
    texts = wrap(words, width - rails_width, subsequent_indent=hanging, break_on_hyphens=False)
    if not rails_width:
        return texts
    rows = [row] + [through] * (len(texts) - 1)
    return [
        render_row(row, ascii_only=ascii_only).ljust(rails_width) + text for row, text in zip(rows, texts, strict=True)
    ]
