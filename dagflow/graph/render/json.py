"""A plan as JSON, for programs: every setting, and where a drawing would put each node.

    {"pipeline": str, "max_in_flight": int, "drain_timeout_s": float,
     "nodes": [{"name", "kind", "type", "layer", "position", "concurrency", "timeout_s",
                "retry": {"attempts", "backoff_s", "max_backoff_s"}, "on_error", "fan_out",
                "unmatched", "affinity", "join": {"mode", "timeout_s", "on_missing"} | null,
                "reads": [str], "reads_any": [[str]], "writes": [str] | null, "ports": [str],
                "workers": [str], "live": bool, "settings": {key: value}}],
     "edges": [{"name", "source", "port", "target", "capacity", "max_bytes", "when_full",
                "spill": {"path", "max_bytes"} | null, "block_timeout_s", "max_wait_s", "order",
                "ageing_s", "dead_letter", "when", "best_effort", "via"}],
     "workers": [{"name", "type", "settings": {key: value}}]}

Times are in seconds and sizes in bytes; `settings` is the node's table as `dagflow show`
prints it, with references unresolved and secrets redacted. `layer` counts from the sources,
`position` from the first node of the layer.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dagflow.graph.render.layout import build_layout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagflow.graph.plan import EdgePlan, NodePlan, Plan, WorkerPlan


_OF_CUTS: Final = frozenset({"called", "sessions", "answers"})  # how a cut edge is named, and what its end is told


def render_json(plan: Plan) -> str:
    """Write a plan as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(describe_plan(plan)), indent=2).decode() + "\n"


def describe_plan(plan: Plan) -> dict[str, Any]:
    """Give a plan as JSON-like values, in the shape that this module's docstring says."""
    places = build_layout(plan).places
    return {
        "pipeline": plan.name,
        "max_in_flight": plan.max_in_flight,
        "drain_timeout_s": plan.drain_timeout_s,
        "nodes": [_node(plan, node, *places[node.name]) for node in plan.nodes.values()],
        "edges": [_edge(edge) for edge in plan.edges],
        "workers": [_worker(plan, worker) for worker in plan.workers.values()],
    }


def _node(plan: Plan, node: NodePlan, layer: int, position: int) -> dict[str, Any]:
    return {
        "name": node.name,
        "kind": node.kind,
        "type": node.type,
        "layer": layer,
        "position": position,
        "concurrency": node.concurrency,
        "timeout_s": node.timeout_s,
        "retry": asdict(node.retry),
        "on_error": node.on_error,
        "fan_out": node.fan_out,
        "unmatched": node.unmatched,
        "affinity": node.affinity,
        "join": None if node.join is None else asdict(node.join),
        "reads": sorted(node.reads),
        "reads_any": [sorted(group) for group in node.reads_any],
        "writes": None if node.writes is None else sorted(node.writes),
        "ports": sorted(node.ports),
        "workers": list(node.workers),
        "live": node.live,
        "settings": _settings(plan, f"{node.kind}s", node.name),
    }


def _edge(edge: EdgePlan) -> dict[str, Any]:
    values = {field.name: getattr(edge, field.name) for field in fields(edge) if field.name not in _OF_CUTS}
    spill = None if edge.spill is None else {"path": str(edge.spill.path), "max_bytes": edge.spill.max_bytes}
    when = None if edge.when is None else edge.when.source
    return {"name": edge.name, **values, "spill": spill, "when": when}


def _worker(plan: Plan, worker: WorkerPlan) -> dict[str, Any]:
    return {"name": worker.name, "type": worker.type, "settings": _settings(plan, "workers", worker.name)}


def _settings(plan: Plan, table: str, name: str) -> Mapping[str, Any]:
    return plan.effective.get(table, {}).get(name, {})
