"""Checks of edges that overflow to disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.config.diagnostics import diagnose
from dagflow.graph.draft import edge_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.config.diagnostics import Diagnostic
    from dagflow.config.keys import Key
    from dagflow.config.tables import EdgeDefaults
    from dagflow.graph.draft import Draft


def check_spill(table: EdgeDefaults, key: Key, defaults: EdgeDefaults) -> Iterator[Diagnostic]:
    """Find what is missing or of no use to one edge; by default there may be a place for those that spill."""
    if table.when_full == "spill" and table.spill is None:
        hint = 'add `spill = { path = "spill" }`, a folder'
        yield diagnose("spill-nowhere", "the edge spills, but nothing says where", (*key, "when_full"), hint=hint)
    elif table.when_full != "spill" and table.spill is not None and table is not defaults:
        text = f'`spill` needs `when_full = "spill"`, but it is `{table.when_full}`'
        hint = 'remove `spill`, or set `when_full = "spill"`'
        yield diagnose("spill-without-spilling", text, (*key, "spill"), hint=hint)


def check_spilling(draft: Draft) -> Iterator[Diagnostic]:
    """Find what an edge cannot do that spills: what is on disk has one order, and is out of sight."""
    for index, edge in draft.edges.items():
        if edge.when_full != "spill":
            continue
        target = draft.nodes.get(edge.target)
        if edge.order != "fifo":
            hint = "remove `order`, or let the edge block"
            yield _conflict(f"goes by `{edge.order}`", index, hint, "order")
        if edge.max_bytes is not None:
            hint = "bound what is in memory by `capacity`, and what is on disk by `spill.max_bytes`"
            yield _conflict("has `max_bytes`", index, hint, "max_bytes")
        if edge.via != "memory":
            yield _conflict(f"goes over `{edge.via}`", index, "remove `via`, or let the edge block", "via")
        if target is not None and target.affinity is not None:
            hint = f"remove `affinity` of `{target.name}`, or let the edge block"
            yield _conflict(f"leads to {draft.label(target.name)}, which has `affinity`", index, hint, "when_full")


def _conflict(what: str, index: int, hint: str, name: str) -> Diagnostic:
    return diagnose("spill-conflict", f"an edge that spills {what}", edge_key(index, name), hint=hint)
