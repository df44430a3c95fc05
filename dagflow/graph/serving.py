"""Checks of services: every caller gets an answer, and nobody uses a service who may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.config.diagnostics import Diagnostic, diagnose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.graph.draft import Draft
    from dagflow.graph.plan import EdgePlan, NodePlan


def check_serving(draft: Draft, cyclic: bool) -> Iterator[Diagnostic]:
    """Find callers without an answer, open doors, and an `[auth]` that nobody asks."""
    sources = [node for node in draft.nodes.values() if node.serves]
    for node in sources:
        if not cyclic and (way := _way_without_answer(node.name, draft)) is not None:
            yield _unanswered(node, way, draft)
        if node.exposed_at is not None and ("auth",) not in draft.tables:
            text = f"source `{node.name}` listens at `{node.exposed_at}` for everybody, since there is no `[auth]`"
            hint = "add `[auth]` with `tokens`, listen at 127.0.0.1, or say `insecure = true`"
            yield diagnose("open-door", text, (*draft.node_key(node.name), "listen"), hint=hint)
    if ("auth",) in draft.tables and not sources and len(draft.nodes) == len(draft.kinds):
        text = "`[auth]` has no effect: no source of the file lets anybody in"
        yield diagnose("idle-auth", text, ("auth",), hint="remove the table, or add a source such as type `http`")


def _unanswered(node: NodePlan, way: list[str], draft: Draft) -> Diagnostic:
    steps = " -> ".join(f"`{step}`" for step in way)
    text = f"source `{node.name}` has callers who wait, but nothing on the way {steps} answers them"
    hint = "lead that way to a sink of type `reply`, also beside where it leads now"
    return diagnose("unanswered", text, draft.node_key(node.name), hint=hint)


def _way_without_answer(name: str, draft: Draft) -> list[str] | None:
    """Give a way that a record may take on which nobody answers it; None if there is none.

    Where a record surely goes several ways, one answer is enough; where it goes one of several, each needs one.
    """
    node = draft.nodes.get(name)
    if node is None or node.answers:
        return None  # what could not be understood may answer
    if node.kind == "sink":
        return [name]
    for edges in draft.by_port(name).values():
        counted = [edge for _, edge in edges if not edge.best_effort]
        if counted and (way := _way_by_port(node, counted, draft)) is not None:
            return way
    return None


def _way_by_port(node: NodePlan, edges: list[EdgePlan], draft: Draft) -> list[str] | None:
    ways = {edge.name: _way_without_answer(edge.target, draft) for edge in edges}
    sure = [edge for edge in edges if node.fan_out == "all" and edge.when is None]
    if any(ways[edge.name] is None for edge in sure):
        return None
    lost = next((edge for edge in edges if ways[edge.name] is not None), None)
    return None if lost is None else [lost.origin, *ways[lost.name]]
