"""Meaning: what a plan makes of its input, whatever it runs on: what two runs must share to make one output.

How fast, how long, how often and where from is no part of it; which stages with which options, over which edges, is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagflow.graph.cutting import EndPlan

if TYPE_CHECKING:
    from dagflow.graph.plan import NodePlan, Plan, WorkerPlan


def meaning_of(plan: Plan) -> dict[str, Any]:
    """Give what a plan means, as JSON; without secrets."""
    folder = Path() if plan.path is None else plan.path.parent
    found: dict[str, Any] = {"sources": {}, "stages": {}, "sinks": {}, "edges": {}, "workers": {}}
    for node in plan.nodes.values():
        if isinstance(node, EndPlan):
            continue  # its edge stands for it
        ways = {"join": None if node.join is None else node.join.mode, "fan_out": node.fan_out}
        found[f"{node.kind}s"][node.name] = {**_options_of(node, folder), **ways, "on_error": node.on_error}
    for edge in plan.edges:
        found["edges"][edge.name] = {"when": None if edge.when is None else edge.when.source}
    for worker in plan.workers.values():
        found["workers"][worker.name] = _options_of(worker, folder)
    return found


def _options_of(plan: NodePlan | WorkerPlan, folder: Path) -> dict[str, Any]:
    options = plan.options.model_dump(mode="json", by_alias=True, exclude=set(plan.cls.incidental))
    for name, value in plan.options:
        if name not in options:
            continue
        if isinstance(value, Path):  # the folder that all stands in may have moved
            options[name] = os.path.relpath(value, folder)
        elif isinstance(value, set | frozenset):  # the order in which a set is written differs from run to run
            options[name] = sorted(options[name], key=repr)
    return {"type": plan.type, **options}
