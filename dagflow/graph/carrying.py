"""Checks of edges over brokers: what a broker cannot do is told, not left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.config.diagnostics import Diagnostic, diagnose
from dagflow.graph.cutting import awaited_edges
from dagflow.graph.draft import edge_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.graph.draft import Draft
    from dagflow.graph.plan import EdgePlan


def is_carried(edge: EdgePlan, draft: Draft) -> bool:
    """Whether an edge goes from program to program."""
    transport = draft.transports.get(edge.via)
    return transport is not None and transport.durable


def check_carrying(draft: Draft) -> Iterator[Diagnostic]:
    """Find settings of edges that their brokers cannot keep, and tables of transports that no edge names."""
    for index, edge in draft.edges.items():
        if is_carried(edge, draft):
            yield from _check_settings(index, edge, draft)
    named = {edge.via for edge in draft.edges.values()}
    if (shared := draft.tables.get(("shared",))) is not None:
        named.add(shared.transport)
    for name in draft.transports:
        if name not in named and ("transports", name) in draft.tables:
            text = f"transport `{name}` has no effect: no edge goes `via` it, nor does `[shared]` name it"
            hint = f'set `via = "{name}"` of an edge, or remove the table'
            yield diagnose("idle-transport", text, ("transports", name), hint=hint)
    yield from _check_callers(draft)


def _check_settings(index: int, edge: EdgePlan, draft: Draft) -> Iterator[Diagnostic]:
    impossible = {
        "when_full": edge.when_full not in ("block", "drop_newest"),
        "order": edge.order != "fifo",
        "max_wait": edge.max_wait_s is not None,
        "max_bytes": edge.max_bytes is not None,
        "best_effort": edge.best_effort,
    }
    kind = draft.transports[edge.via].type
    for name in (name for name, is_so in impossible.items() if is_so):
        value = f' = "{getattr(edge, name)}"' if name in ("when_full", "order") else ""
        text = f"edge `{edge.name}` goes via `{edge.via}`, and type `{kind}` cannot keep `{name}{value}`"
        hint = f"remove `{name}` here, or put it on an edge in memory before or behind this one"
        yield diagnose("not-over-transport", text, edge_key(index, name), hint=hint, others=[edge_key(index, "via")])


def _check_callers(draft: Draft) -> Iterator[Diagnostic]:
    """Find edges over brokers that bring no answers back, between callers who wait and what answers them."""
    awaited = awaited_edges(draft.nodes.values(), draft.edges.values())
    for index, edge in draft.edges.items():
        if edge.name in awaited and is_carried(edge, draft) and not draft.transports[edge.via].cls.answers:
            kind = draft.transports[edge.via].type
            text = f"edge `{edge.name}` goes via `{edge.via}`, and over type `{kind}` no answer comes back to who waits"
            hint = "answer before this edge, with a sink of type `reply`, or let it go over type `nats`"
            yield diagnose("answer-across-transport", text, edge_key(index, "via"), hint=hint)
