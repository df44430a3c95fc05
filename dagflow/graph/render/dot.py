"""A plan in the DOT language, for Graphviz."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dagflow.graph.render.labels import edge_bound, edge_terms, node_terms

if TYPE_CHECKING:
    from dagflow.graph.plan import EdgePlan, NodePlan, Plan

_SHAPES: Final = {"source": "oval", "stage": "box", "sink": "cylinder"}


def render_dot(plan: Plan) -> str:
    """Draw a plan as a digraph; best-effort edges are dashed."""
    lines = [f"digraph {_quoted(plan.name)} {{", "  rankdir=LR;"]
    lines += [f"  {_quoted(node.name)} [{_node(node)}];" for node in plan.nodes.values()]
    lines += [f"  {_quoted(edge.source)} -> {_quoted(edge.target)} [{_edge(edge)}];" for edge in plan.edges]
    return "\n".join([*lines, "}"]) + "\n"


def _node(node: NodePlan) -> str:
    label = _quoted(node.name, f"{node.kind} {node.type}", *node_terms(node))
    return f"shape={_SHAPES[node.kind]}, label={label}"


def _edge(edge: EdgePlan) -> str:
    style = ", style=dashed" if edge.best_effort else ""
    port = f", taillabel={_quoted(edge.port)}" if edge.port else ""
    return f"label={_quoted(edge_bound(edge), *edge_terms(edge))}{port}{style}"


def _quoted(*lines: str) -> str:
    return '"' + r"\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in lines) + '"'
