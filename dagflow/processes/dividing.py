"""Dividing: the plan of one of several processes. What bounds the pipeline as a whole is shared out among them.

What cannot be shared out to the last process at all stays at 1 there: `check_thin` tells of it beforehand.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import BaseModel

    from dagflow.graph.plan import NodePlan, Plan, WorkerPlan
    from dagflow.shares import Share

IN_TRANSIT: Final = 64
"""How many records of one process may be on their way to a sink in the parent."""

_DIVIDED_OPTIONS: Final = ("max_waiting", "max_connections")


def far_sinks(plan: Plan) -> list[str]:
    """Name the sinks of which there can only be one: they live in the parent."""
    return [node.name for node in plan.of_kind("sink") if not node.parallel]


def far_sources(plan: Plan) -> list[str]:
    """Name the sources that only one process can read: the parent, which shares out what they bring."""
    by_session = keeps_sessions(plan)
    return [
        node.name for node in plan.of_kind("source") if not node.splits or (by_session and not node.splits_sessions)
    ]


def keeps_sessions(plan: Plan) -> bool:
    """Whether records of one session must come to one process."""
    return any(node.affinity is not None for node in plan.nodes.values())


def part_of(amount: int, share: Share) -> int:
    """Give what one process has of an amount, at least 1: the parts sum up to it, if there is enough for all."""
    return max(1, amount // share.count + (share.index < amount % share.count))


def divide(plan: Plan, share: Share, ports: Mapping[str, int], far: Mapping[str, Callable[[BaseModel], Any]]) -> Plan:
    """Give the plan of one process.

    Args:
        ports: where sources listen that share a port, by their names.
        far: what builds the nodes that stand for those of the parent.
    """
    live = not any(plan.nodes[name].forwards for name in far)  # no stream goes to the parent's sinks
    nodes = {name: _node(node, share, ports.get(name), far.get(name), live) for name, node in plan.nodes.items()}
    edges = tuple(
        replace(
            edge,
            capacity=part_of(edge.capacity, share),
            max_bytes=None if edge.max_bytes is None else part_of(edge.max_bytes, share),
        )
        for edge in plan.edges
    )
    return replace(
        plan,
        nodes=nodes,
        edges=edges,
        workers={name: _worker(worker, share, plan.shared is not None) for name, worker in plan.workers.items()},
        auth=_auth(plan.auth, share),
        checkpoint=None,
        admin=None,
        exporters={},
        max_in_flight=part_of(plan.max_in_flight, share),
    )


def _node(
    node: NodePlan, share: Share, port: int | None, build: Callable[[BaseModel], Any] | None, live: bool
) -> NodePlan:
    options = node.options
    given = {name: getattr(options, name) for name in _DIVIDED_OPTIONS if hasattr(options, name)}
    changed: dict[str, Any] = {name: value and part_of(value, share) for name, value in given.items()}
    if port is not None:
        changed["listen"] = options.listen.at_port(port)  # type: ignore[attr-defined]
    node = replace(
        node,
        options=options.model_copy(update=changed) if changed else options,
        concurrency=part_of(node.concurrency, share),
        live=node.live and live,
    )
    if build is None:
        return node
    node = replace(node, cls=build, forwards=False, parallel=True)  # type: ignore[arg-type]
    if node.kind == "sink" and node.retry.attempts == 1:  # else what is tried again would fall behind
        node = replace(node, concurrency=max(node.concurrency, IN_TRANSIT))
    return node


def _worker(worker: WorkerPlan, share: Share, shares: bool) -> WorkerPlan:
    """Give a worker of one process; `shares`: whether its limits and its budget are shared by all that is."""
    guards = _guards(worker.guards, share)
    if shares:
        guards = guards.model_copy(update={"limits": worker.guards.limits, "budget": worker.guards.budget})
    return replace(worker, guards=guards)


def _guards(guards: Any, share: Share) -> Any:
    changed: dict[str, Any] = {"limits": [_limited(limit, share) for limit in guards.limits]}
    if guards.max_in_flight is not None:
        changed["max_in_flight"] = part_of(guards.max_in_flight, share)
    if (adaptive := guards.adaptive) is not None:
        parts = {"min": part_of(adaptive.min, share), "max": part_of(adaptive.max, share)}
        changed["adaptive"] = adaptive.model_copy(update=parts)
    if (budget := guards.budget) is not None:
        sums = {name: getattr(budget, name) for name in ("warn", "reject")}
        parts = {name: None if value is None else value / share.count for name, value in sums.items()}
        changed["budget"] = budget.model_copy(update=parts)
    return guards.model_copy(update=changed)


def _auth(auth: Any, share: Share) -> Any:
    if auth is None:
        return None
    from dagflow.config.auth_tables import all_tokens

    return auth.model_copy(update={"tokens": [_limited(token, share) for token in all_tokens(auth)], "file": None})


def _limited(table: Any, share: Share) -> Any:
    """Divide the allowances of a limit, or of a token."""
    given = {name: getattr(table, name) for name in ("requests", "tokens")}
    parts = {name: (part_of(most, share), per_s) for name, (most, per_s) in _there(given).items()}
    return table.model_copy(update=parts)


def _there(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
