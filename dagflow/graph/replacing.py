"""Replacing: which plan may take the place of another one while that runs, and what goes over from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.graph.plan import Plan


def is_replaceable(plan: Plan) -> bool:
    """Whether another plan may take the place of this one while it runs."""
    return next(_fixed(plan), None) is None


def find_hindrances(before: Plan, plan: Plan) -> Iterator[str]:
    """Say what keeps a plan from taking the place of the one that runs; nothing if it may."""
    yield from _fixed(before)
    yield from _fixed(plan)
    for table in ("admin", "runtime"):
        if getattr(before, table) != getattr(plan, table):
            yield f"`[{table}]` cannot be changed while it runs"
    kept = kept_sinks(before, plan)
    for sink in before.of_kind("sink"):
        if sink.name in plan.nodes and not sink.parallel and sink.name not in kept:
            yield f"sink `{sink.name}` is there once only, so it cannot be changed while it runs"


def kept_workers(before: Plan, plan: Plan) -> list[str]:
    """Name the workers that go over: they stand in both plans alike, and so do their members."""
    kept: list[str] = []
    if before.shared is not None or plan.shared is not None:
        return kept  # what they have leased belongs to the run that leased it
    for name, worker in plan.workers.items():  # members stand before their pools
        if before.workers.get(name) == worker and all(member in kept for member in worker.workers):
            kept.append(name)
    return kept


def kept_sinks(before: Plan, plan: Plan) -> list[str]:
    """Name the sinks that go over: there can only be one of each, and they stand in both plans alike."""
    return [node.name for node in plan.of_kind("sink") if not node.parallel and before.nodes.get(node.name) == node]


def kept_exporters(before: Plan, plan: Plan) -> list[str]:
    """Name the exporters that go over: they stand in both plans alike."""
    if before.metric_labels != plan.metric_labels:
        return []
    return [name for name, exporter in plan.exporters.items() if before.exporters.get(name) == exporter]


def _fixed(plan: Plan) -> Iterator[str]:
    """Say what keeps a plan from being replaced, or from replacing another one, whatever that is."""
    if plan.checkpoint is not None:
        yield "a run with a checkpoint cannot be replaced; stop it and start it anew: it goes on where it was"
    for source in plan.of_kind("source"):
        if source.finite or not source.replaceable:
            yield (
                f"source `{source.name}` of type `{source.type}` cannot be handed over while it is read; "
                "stop the run and start it anew"
            )
