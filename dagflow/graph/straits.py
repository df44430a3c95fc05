"""Straits: joins and lanes that are allowed, but where records will wait, be lost or lose their order.

Warnings of `advice.py`, in a file of their own. Only what is certain is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.config.diagnostics import Diagnostic, diagnose
from dagflow.graph.draft import edge_key
from dagflow.graph.gathering import clashes
from dagflow.graph.ways import Ways, inner_branches, meets, sheds, ways_to
from dagflow.units import render_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.graph.draft import Draft
    from dagflow.graph.plan import NodePlan


def check_straits(draft: Draft) -> Iterator[Diagnostic]:
    """Find joins that starve, branches that overwrite each other, and orders that are lost."""
    if draft.edges_lost:
        return
    for name, node in draft.nodes.items():
        if node.join is not None and len(list(draft.entering(name))) > 1:
            yield from _joins(node, draft)
        if node.affinity is not None:
            yield from _lanes(node, draft)


def _joins(node: NodePlan, draft: Draft) -> Iterator[Diagnostic]:
    key, ways = draft.node_key(node.name), ways_to(node.name, draft)
    if any(draft.edges[index].best_effort for index in ways.all_edges):
        return  # either an error, or all of it is best effort: then it is a graph of its own
    if not meets(ways, draft):
        text = f"join `{node.name}` can starve: no node sends branches of one record to two of its edges"
        yield diagnose("join-can-starve", text, (*key, "join"), hint="remove `join`: each record comes by itself")
        return
    if node.join is None or node.join.mode != "all":
        return
    if node.join.on_missing == "fail":
        yield from _lossy_branches(node, ways, draft)
    yield from _slow_branches(node, ways, draft)
    for field, (one, other) in clashes(node.name, draft).items():
        text = f"`{one}` and `{other}` both write `{field}`, and join `{node.name}` keeps what `{other}` writes"
        hint = "have one of them write another field, or remove one"
        others = [draft.node_key(one), draft.node_key(other)]
        yield diagnose("joined-twice", text, (*key, "join"), hint=hint, others=others)


def _lossy_branches(node: NodePlan, ways: Ways, draft: Draft) -> Iterator[Diagnostic]:
    _, inner = inner_branches(node.name, ways, draft)
    lossy = [index for index in ways.branch_edges if index not in inner and sheds(draft.edges[index])]
    if lossy:
        edges = ", ".join(f"`{draft.edges[index].name}`" for index in lossy)
        text = f"join `{node.name}` can starve: records of which {edges} sheds a branch end there"
        hint = f'add `on_missing = "partial"` to `{node.name}`, or let these edges block'
        first, *others = map(edge_key, lossy)
        yield diagnose("join-can-starve", text, first, hint=hint, others=others)


def _slow_branches(node: NodePlan, ways: Ways, draft: Draft) -> Iterator[Diagnostic]:
    assert node.join is not None
    patience, key = node.join.timeout_s, (*draft.node_key(node.name), "join_timeout")
    inner, _ = inner_branches(node.name, ways, draft)
    for name in filter((ways.branch_nodes - inner).__contains__, draft.nodes):
        slow = draft.nodes[name]
        if slow.timeout_s is not None and slow.timeout_s * slow.retry.attempts > patience:
            longest = render_duration(slow.timeout_s * slow.retry.attempts)
            text = (
                f"join `{node.name}` can starve: it waits {render_duration(patience)}, but `{name}` may take {longest}"
            )
            hint = f'set `join_timeout` of `{node.name}` to more than "{longest}"'
            yield diagnose("join-can-starve", text, key, hint=hint, others=[(*draft.node_key(name), "timeout")])
    if draft.pipeline is not None and patience > draft.pipeline.drain_timeout:
        drain = render_duration(draft.pipeline.drain_timeout)
        text = f"join `{node.name}` may wait {render_duration(patience)} for a branch, but a drain waits only {drain}"
        hint = f'set `drain_timeout` of `[pipeline]` to at least "{render_duration(patience)}"'
        yield diagnose("timeout-exceeds-drain", text, key, hint=hint)


def _lanes(node: NodePlan, draft: Draft) -> Iterator[Diagnostic]:
    key = (*draft.node_key(node.name), "affinity")
    if node.concurrency == 1:
        text = f"`affinity` has no effect: {draft.label(node.name)} works on one record at a time, in their order"
        yield diagnose("idle-affinity", text, key, hint="raise `concurrency`, or remove `affinity`")
    for name in _before(node.name, draft):
        hint = _mixing(draft.nodes[name])
        if hint is not None:
            text = f"records of one session may overtake each other in `{name}`, before they reach `{node.name}`"
            yield diagnose("session-order-lost", text, key, hint=hint, others=[draft.node_key(name)])
            return


def _mixing(node: NodePlan) -> str | None:
    """Say how to keep the order of sessions in a node; None if it does so.

    A join of the first branches loses it where a branch is lost: the record waits for its other one.
    """
    if node.join is not None and node.join.mode == "any":
        return f'set `join` of `{node.name}` to "all"'
    if node.kind != "stage" or node.concurrency == 1 or node.affinity is not None:
        return None
    if node.join is not None:
        return f"set `concurrency` of `{node.name}` to 1"
    return f'add `affinity = "session"` to `{node.name}`, or set its `concurrency` to 1'


def _before(name: str, draft: Draft) -> list[str]:
    """Give the nodes that lead to one, the nearest first; those that could not be read are left out."""
    found = [name]
    for one in found:
        sources = [edge.source for _, edge in draft.entering(one)]
        found += [source for source in dict.fromkeys(sources) if source in draft.nodes and source not in found]
    return found[1:]
