"""The words for nodes and edges that all drawings share.

Only what differs from the engine's silence is said: no timeout, one try and the main output
need no words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.units import render_duration, render_size

if TYPE_CHECKING:
    from dagflow.graph.plan import EdgePlan, NodePlan, Plan


def node_terms(node: NodePlan) -> list[str]:
    """Say a node's settings, such as `concurrency 4`, `timeout 1s`, `3 attempts`."""
    terms = [] if node.kind == "source" else [f"concurrency {node.concurrency}"]
    if node.timeout_s is not None:
        terms.append(f"timeout {render_duration(node.timeout_s)}")
    if node.retry.attempts > 1:
        terms.append(f"{node.retry.attempts} attempts")
    if node.on_error != "dead_letter":
        terms.append(f"on error: {node.on_error}")
    if node.fan_out == "first":
        terms.append("first match only")
    if node.unmatched == "filter":
        terms.append("unmatched: filter")
    if node.affinity is not None:
        terms.append(f"lanes by {node.affinity}")
    return [*terms, *_join_terms(node), *(f"worker {worker}" for worker in node.workers)]


def _join_terms(node: NodePlan) -> list[str]:
    if node.join is None:
        return []
    if node.join.mode == "any":
        return ["joins any"]
    missing = ", partial" if node.join.on_missing == "partial" else ""
    return [f"joins all within {render_duration(node.join.timeout_s)}{missing}"]


def edge_bound(edge: EdgePlan) -> str:
    """Say an edge's bound, policy and order, such as `512 block` or `512 64MiB block 5s by priority`."""
    terms = [str(edge.capacity)]
    if edge.max_bytes is not None:
        terms.append(render_size(edge.max_bytes))
    terms.append(edge.when_full)
    if edge.block_timeout_s is not None:
        terms.append(render_duration(edge.block_timeout_s))
    if edge.order != "fifo":
        terms.append(f"by {edge.order}")
    return " ".join(terms)


def edge_terms(edge: EdgePlan) -> list[str]:
    """Say an edge's other settings, such as `max wait 2s`, `best effort`, `via nats`, `when n > 3`."""
    terms = []
    if edge.max_wait_s is not None:
        terms.append(f"max wait {render_duration(edge.max_wait_s)}")
    if edge.dead_letter:
        terms.append("dead letters")
    if edge.best_effort:
        terms.append("best effort")
    if edge.via != "memory":
        terms.append(f"via {edge.via}")
    if edge.when is not None:
        terms.append(f"when {' '.join(edge.when.source.split())}")
    return terms


def plan_counts(plan: Plan) -> str:
    """Say what the plan consists of, such as `1 source, 4 stages, 1 sink, 5 edges`."""
    counts = {kind: len(plan.of_kind(kind)) for kind in ("source", "stage", "sink")} | {"edge": len(plan.edges)}
    return ", ".join(_count(number, noun) for noun, number in counts.items() if number)


def plan_limits(plan: Plan) -> str:
    """Say the bounds of the whole pipeline, in the words of the file."""
    return f"max_in_flight {plan.max_in_flight}, drain_timeout {render_duration(plan.drain_timeout_s)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
