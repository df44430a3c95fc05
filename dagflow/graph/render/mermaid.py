"""A plan as a Mermaid flowchart, for documents that draw it.

Nodes get ids of their own (`n0`, `n1`, ...): a node's name may be a word of Mermaid's, such
as `end`. Every label is quoted, with what Mermaid or HTML would read written as an entity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dagflow.graph.render.labels import edge_bound, edge_terms, node_terms

if TYPE_CHECKING:
    from dagflow.graph.plan import EdgePlan, NodePlan, Plan

_SHAPES: Final = {"source": ("([", "])"), "stage": ("[", "]"), "sink": ("[(", ")]")}
_PLAIN: Final = frozenset(" .,:-_+/()[]'!?=*%")


def render_mermaid(plan: Plan) -> str:
    """Draw a plan as `flowchart LR`; best-effort edges are dotted."""
    ids = {name: f"n{i}" for i, name in enumerate(plan.nodes)}
    nodes = [f"  {ids[node.name]}{_node(node)}" for node in plan.nodes.values()]
    edges = [f"  {ids[edge.source]} {_edge(edge)} {ids[edge.target]}" for edge in plan.edges]
    return "\n".join(["flowchart LR", *nodes, *edges]) + "\n"


def _node(node: NodePlan) -> str:
    opening, closing = _SHAPES[node.kind]
    return f"{opening}{_label([node.name, f'{node.kind} {node.type}', *node_terms(node)])}{closing}"


def _edge(edge: EdgePlan) -> str:
    port = [edge.port] if edge.port else []
    arrow = "-.->" if edge.best_effort else "-->"
    return f"{arrow}|{_label([*port, edge_bound(edge), *edge_terms(edge)])}|"


def _label(lines: list[str]) -> str:
    return f'"{"<br/>".join(_escape(line) for line in lines)}"'


def _escape(text: str) -> str:
    return "".join(char if char.isalnum() or char in _PLAIN else f"#{ord(char)};" for char in text)
