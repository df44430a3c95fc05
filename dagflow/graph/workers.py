"""Checks of the workers' tables: pools that contain themselves, and keys that do not go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.config.diagnostics import Diagnostic, diagnose
from dagflow.graph.order import find_cycles, forward_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dagflow.graph.draft import Draft
    from dagflow.graph.plan import WorkerPlan


def check_workers(draft: Draft) -> Iterator[Diagnostic]:
    """Find what is wrong with the workers as a whole."""
    yield from _check_cycles(draft.workers)
    for name, worker in draft.workers.items():
        if worker.guards.budget is not None and worker.guards.prices is None and not worker.workers:
            text = f"worker `{name}` has a `budget`, but no `prices`, so that nothing would ever be spent"
            hint = "add `prices`, such as `prices = { input = 0.5, output = 1.5 }`, for a million tokens"
            yield diagnose("budget-without-prices", text, ("workers", name, "budget"), hint=hint)


def members_first(workers: Mapping[str, WorkerPlan]) -> dict[str, WorkerPlan]:
    """Sort workers so that each stands after those that it asks, else as in the file; they form no cycle."""
    ordered: dict[str, WorkerPlan] = {}

    def add(name: str) -> None:
        for member in workers[name].workers:
            add(member)
        ordered.setdefault(name, workers[name])

    for name in workers:
        add(name)
    return ordered


def _check_cycles(workers: Mapping[str, WorkerPlan]) -> Iterator[Diagnostic]:
    links = [(name, member) for name, worker in workers.items() for member in worker.workers if member in workers]
    if forward_order(workers, links) is not None:
        return
    for first, *others in find_cycles(list(workers), links):
        way = " -> ".join(f"`{name}`" for name in (first, *others, first))
        text = f"workers ask each other in a circle: {way}"
        keys = [("workers", name) for name in others]
        yield diagnose("worker-cycle", text, ("workers", first), hint="take one of them out", others=keys)
