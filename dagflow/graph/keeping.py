"""Checks of sources that can't leave one record open while later ones are done, as in a log that is read by offsets.

Whatever such a source brings and does not come through has to be kept, or it would be gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.config.diagnostics import diagnose
from dagflow.graph.draft import edge_key
from dagflow.graph.order import reachable
from dagflow.graph.ways import sheds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.config.diagnostics import Diagnostic
    from dagflow.graph.draft import Draft


def check_keeping(draft: Draft) -> Iterator[Diagnostic]:
    """Find where records of such sources would be lost for want of a dead letter."""
    for source in (node for node in draft.nodes.values() if node.in_order):
        whose = f"source `{source.name}` can't leave a record open while later ones are done"
        if ("dead_letters",) not in draft.tables:
            text = f"{whose}, and there is no `[dead_letters]` to keep those that fail"
            yield diagnose(
                "lost-for-good", text, draft.node_key(source.name), hint="add `[dead_letters]` with a `path`"
            )
            continue
        links = [(edge.source, edge.target) for edge in draft.edges.values() if not edge.best_effort]
        behind = reachable([source.name], links)
        for index, edge in draft.edges.items():
            if edge.source in behind and sheds(edge) and not (edge.dead_letter or edge.best_effort):
                text = f"edge `{edge.name}` may shed records without a dead letter, but {whose}"
                yield diagnose("lost-for-good", text, edge_key(index), hint="add `dead_letter = true`, or let it block")
        for name in (name for name in draft.nodes if name in behind):
            if draft.nodes[name].on_error == "drop":
                text = f"{draft.label(name)} drops what fails, but {whose}"
                key = (*draft.node_key(name), "on_error")
                yield diagnose("lost-for-good", text, key, hint="remove `on_error`, so that dead letters are kept")
