"""Checks of a pipeline in several processes: what each needs a part of must be enough for all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dagflow.config.diagnostics import diagnose
from dagflow.graph.carrying import is_carried
from dagflow.graph.draft import edge_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.config.diagnostics import Diagnostic
    from dagflow.config.document import Document
    from dagflow.config.tables import RuntimeTable
    from dagflow.graph.draft import Draft


def process_count(table: RuntimeTable) -> int:
    """Give in how many processes the pipeline runs: 0 stands for one on each core that it may use."""
    return table.processes or len(os.sched_getaffinity(0))


def check_crowding(draft: Draft) -> Iterator[Diagnostic]:
    """Find what cannot be shared out among all processes."""
    count = _count(draft)
    if count == 1:
        return
    for index, edge in draft.edges.items():
        if is_carried(edge, draft):
            text = f"edge `{edge.name}` goes via `{edge.via}`, and {count} processes of one program share no end of it"
            hint = "run in one process, and several programs, each with `--only`"
            yield diagnose("process-conflict", text, edge_key(index, "via"), hint=hint)
        if edge.when_full == "spill":
            text = f"an edge that spills to disk has one order, but {count} processes would write to it"
            hint = "let the edge block, or run in one process"
            yield diagnose("process-conflict", text, edge_key(index, "when_full"), hint=hint)
    yield from _check_workers(draft, count)


def advise_crowding(draft: Draft, document: Document) -> Iterator[Diagnostic]:
    """Warn of a `concurrency` that somebody has written, and that cannot be kept."""
    count = _count(draft)
    for node in draft.nodes.values():
        key = draft.node_key(node.name)
        written = document.table(key[0]).get(node.name, {})
        is_divided = node.kind == "stage" or node.parallel  # other sinks are called by the parent alone
        if "concurrency" in written and is_divided and node.concurrency < count:
            least = f"`concurrency = {node.concurrency}`, but each of {count} processes needs one"
            hint = f"{count} of its records may be worked on at a time; write `concurrency = {count}` to say so"
            text = f"{draft.label(node.name)} has {least}"
            yield diagnose("thin-concurrency", text, (*key, "concurrency"), hint=hint)


def _count(draft: Draft) -> int:
    table = draft.tables.get(("runtime",))
    return 1 if table is None else process_count(table)


def _check_workers(draft: Draft, count: int) -> Iterator[Diagnostic]:
    for name, worker in draft.workers.items():
        given = {"max_in_flight": worker.guards.max_in_flight}
        for limit in () if ("shared",) in draft.tables else worker.guards.limits:  # what is shared is not divided
            given |= {key: value[0] for key in ("requests", "tokens") if (value := getattr(limit, key)) is not None}
        for key, amount in given.items():
            if amount is not None and amount < count:
                text = f"worker `{name}` may have {amount} of `{key}`, which {count} processes cannot share"
                hint = f"allow at least {count}, or run in fewer processes"
                yield diagnose("thin-limit", text, ("workers", name), hint=hint)
