"""Idle keys: what stands in the file, but can never act.

Warnings of `advice.py`, in a file of their own. Only what is certain is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.config.diagnostics import Diagnostic, diagnose
from dagflow.config.keys import value_at
from dagflow.graph.draft import edge_key
from dagflow.graph.order import forward_order
from dagflow.graph.promises import splits_nothing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.config.document import Document
    from dagflow.config.keys import Key
    from dagflow.graph.draft import Draft
    from dagflow.graph.plan import NodePlan


def check_idle(draft: Draft, document: Document) -> Iterator[Diagnostic]:
    """Find keys of retries, errors, routes, orders and full edges that have no effect."""
    yield from _idle_retries(draft, document)
    yield from _idle_on_error(draft, document)
    if not draft.edges_lost:
        yield from _idle_orders(draft, document)
        yield from _idle_edges(draft)
        yield from _idle_unmatched(draft)
        yield from _idle_when_full(draft, document)


def _idle_retries(draft: Draft, document: Document) -> Iterator[Diagnostic]:
    for name in draft.nodes:
        key = (*draft.node_key(name), "retry")
        retry = value_at(document.tables, key)
        if retry is not None and "attempts" not in retry:
            text = f"{draft.label(name)} is tried only once: `attempts` is 1 where it is not given"
            yield diagnose("idle-retry", text, key, hint="add `attempts`, the number of tries in all")


def _idle_on_error(draft: Draft, document: Document) -> Iterator[Diagnostic]:
    for name in draft.nodes:
        key = (*draft.node_key(name), "on_error")
        if value_at(document.tables, key) == "dead_letter" and "dead_letters" not in document.tables:
            text = f"{draft.label(name)} asks for dead letters, but the file has no `[dead_letters]` to keep them"
            hint = 'add a table `[dead_letters]` with a `path`, such as `path = "dead-letters.db"`'
            yield diagnose("idle-on-error", text, key, hint=hint)


def _idle_orders(draft: Draft, document: Document) -> Iterator[Diagnostic]:
    """Find orders of edges that hold one record; a default may be for other edges."""
    for index, edge in draft.edges.items():
        key = edge_key(index, "order")
        if edge.order != "fifo" and edge.capacity == 1 and value_at(document.tables, key) is not None:
            text = f"`order` has no effect: edge `{edge.name}` holds one record"
            yield diagnose("idle-order", text, key, hint="raise `capacity`, or remove `order`")


def _idle_edges(draft: Draft) -> Iterator[Diagnostic]:
    """Find edges that `fan_out = "first"` never gets to."""
    for name, node in draft.nodes.items():
        for edges in draft.by_port(name).values() if node.fan_out == "first" else ():
            greedy = None
            for index, edge in edges:
                if greedy is not None:
                    text = f"no record takes this edge: `{greedy}` stands before it and takes them all"
                    hint = "move the edge without `when` behind the others"
                    yield diagnose("unreachable-edge", text, edge_key(index), hint=hint)
                elif edge.when is None:
                    greedy = edge.name


def _idle_unmatched(draft: Draft) -> Iterator[Diagnostic]:
    for name, node in draft.nodes.items():
        if node.unmatched == "filter" and _takes_all(node, draft):
            text = (
                f"`unmatched` has no effect: {draft.label(name)} has an edge without `when`, which takes every record"
            )
            yield diagnose("idle-unmatched", text, (*draft.node_key(name), "unmatched"))


def _takes_all(node: NodePlan, draft: Draft) -> bool:
    ports = draft.by_port(node.name)
    return all(any(edge.when is None for _, edge in ports.get(port, ())) for port in (None, *node.ports))


def _idle_when_full(draft: Draft, document: Document) -> Iterator[Diagnostic]:
    """Find what edges do when they are full, where they never are."""
    most = _most_on_edges(draft)
    inheriting: dict[Key, list[bool]] = {}
    for index, edge in draft.edges.items():
        policy = "block_timeout" if edge.when_full == "block" else "when_full"
        idle = index in most and most[index] <= edge.capacity and not edge.max_bytes
        if edge.when_full == "block" and edge.block_timeout_s is None:
            continue
        if policy not in value_at(document.tables, edge_key(index)):
            inheriting.setdefault(("defaults", "edge", policy), []).append(idle)
        elif idle:
            room = f"edge `{edge.name}` has room for {edge.capacity} records, and at most {most[index]} can be in it"
            yield _idle_policy(room, edge_key(index, policy))
    for key, idle_edges in inheriting.items():
        if all(idle_edges):
            yield _idle_policy("the edges that it is for have room for all records that can be in them", key)


def _idle_policy(reason: str, key: Key) -> Diagnostic:
    hint = "lower `capacity`, raise `max_in_flight`, or leave this key out"
    return diagnose("idle-when-full", f"`{key[-1]}` has no effect: {reason}", key, hint=hint)


def _most_on_edges(draft: Draft) -> dict[int, int]:
    """Give how many records an edge can hold at most; edges of which that is not certain are left out.

    Each record in flight is on an edge at most once for each way from a source to it. That does
    not hold behind a stage that may split records, nor behind a `best_effort` edge, whose records
    are in flight no more.
    """
    order = forward_order(draft.kinds, ((e.source, e.target) for e in draft.edges.values()))
    ways: dict[int, int] = {}
    for name in order or () if draft.pipeline is not None else ():
        entering = [ways.get(index) for index, _ in draft.entering(name)]
        known = draft.kinds[name] == "source" or (None not in entering and splits_nothing(draft.nodes.get(name)))
        for index, edge in draft.leaving(name) if known else ():
            if not edge.best_effort:
                joined = name in draft.nodes and draft.nodes[name].join is not None
                ways[index] = 1 if joined else sum(filter(None, entering)) or 1
    return {index: count * draft.pipeline.max_in_flight for index, count in ways.items() if draft.pipeline}
