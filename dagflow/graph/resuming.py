"""Checks of checkpoints: a run that goes on must know its input again, and lose or repeat nothing in its output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.config.diagnostics import diagnose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.config.diagnostics import Diagnostic
    from dagflow.graph.draft import Draft


def check_resuming(draft: Draft) -> Iterator[Diagnostic]:
    """Find what could not go on where an earlier run stopped."""
    if ("checkpoint",) not in draft.tables:
        return
    for node in draft.nodes.values():
        if node.kind == "source" and node.finite and not node.resumable:
            text = f"source `{node.name}` cannot be read again, so a later run could not go on where this one stopped"
            hint = "read a file, or remove `[checkpoint]`"
            yield diagnose("not-resumable", text, draft.node_key(node.name), hint=hint)
        elif node.kind == "sink" and not node.resumable:
            text = f"what sink `{node.name}` has written could be lost or repeated by a run that goes on"
            hint = 'use a sink that can go on, such as `jsonl` without `format = "stream"`, or remove `[checkpoint]`'
            yield diagnose("not-resumable", text, draft.node_key(node.name), hint=hint)
    sources = [node for node in draft.nodes.values() if node.kind == "source"]
    known = len(draft.nodes) == len(draft.kinds)
    if known and not any(node.resumable or node.finite for node in sources):
        text = "`[checkpoint]` has no effect: no source of the file can be read again"
        yield diagnose("idle-checkpoint", text, ("checkpoint",), hint="remove the table")
