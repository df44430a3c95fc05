"""Cutting: from a checked plan to the plan that one program runs.

An edge over a durable transport becomes two: its start leads to an outlet, a sink that hands records over, and its end
comes from an inlet, a source that takes them over. What is left is a plain plan. A cut plan may be cut again, which
changes nothing; so whoever runs a plan cuts it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from dagflow.config.diagnostics import Diagnostic, diagnose
from dagflow.errors import ConfigError
from dagflow.graph.draft import edge_key
from dagflow.graph.order import reachable
from dagflow.graph.plan import EdgePlan, NodePlan, Plan
from dagflow.graph.plugins import ask_declarations

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from dagflow.graph.transport_plan import TransportPlan

_AHEAD: Final = 2  # records that wait before a node, for each of its slots: more would be kept from other machines


@dataclass(frozen=True, slots=True)
class EndPlan(NodePlan):
    """One end of an edge over a transport: the outlet where it starts, or the inlet where it ends."""

    transport: TransportPlan | None = None
    edge: EdgePlan | None = None

    def build(self) -> Any:
        """Construct the plugin; does no I/O."""
        assert self.transport is not None
        assert self.edge is not None
        transport = self.transport.build()
        return transport.build_outlet(self.edge) if self.kind == "sink" else transport.build_inlet(self.edge)


def outlet_name(edge: EdgePlan) -> str:
    """Name the start of an edge over a transport. No node of a file can have such a name."""
    return f"{edge.name} (out)"


def inlet_name(edge: EdgePlan) -> str:
    """Name the end of an edge over a transport."""
    return f"{edge.name} (in)"


def carried_edges(plan: Plan) -> list[EdgePlan]:
    """Give the edges that go from program to program, as their transports are told of them."""
    return [_told(edge, plan) for edge in plan.edges if _is_carried(edge, plan)]


def awaited_edges(nodes: Iterable[NodePlan], edges: Iterable[EdgePlan]) -> set[str]:
    """Give the names of the edges that lead from callers who wait to what answers them."""
    nodes, edges = list(nodes), list(edges)
    links = [(edge.source, edge.target) for edge in edges]
    after = reachable([node.name for node in nodes if node.serves], links)
    before = reachable([node.name for node in nodes if node.answers], ((end, start) for start, end in links))
    return {edge.name for edge in edges if edge.source in after and edge.target in before}


def cut_plan(plan: Plan, only: Collection[str] = ()) -> Plan:
    """Give what one program runs of a plan.

    Args:
        only: the nodes that it runs, by name; all of them if there are none.

    Raises:
        ConfigError: an edge that leads from such a node to another one is carried by nothing that leaves the program.
    """
    here = set(only or plan.nodes)
    diagnostics = list(_check_cuts(plan, here))
    if diagnostics:
        raise ConfigError(diagnostics)
    nodes: dict[str, NodePlan] = {name: node for name, node in plan.nodes.items() if name in here}
    inlets: dict[str, NodePlan] = {}
    edges: list[EdgePlan] = []
    for edge in plan.edges:
        if not _is_carried(edge, plan):
            edges += [edge] if edge.source in here else []
            continue
        if edge.source in here:
            outlet = _end("sink", edge, plan)
            nodes[outlet.name] = outlet
            edges.append(_before(edge, outlet))
        if edge.target in here:
            inlet = _end("source", edge, plan)
            inlets[inlet.name] = inlet
            edges.append(_behind(edge, inlet, plan.nodes[edge.target]))
    if not only and not inlets and len(nodes) == len(plan.nodes):
        return plan
    nodes = inlets | nodes
    used = _used_workers(plan, nodes)
    workers = {name: worker for name, worker in plan.workers.items() if name in used}
    return replace(plan, nodes=nodes, edges=tuple(edges), workers=workers)


def _is_carried(edge: EdgePlan, plan: Plan) -> bool:
    transport = plan.transports.get(edge.via)
    return transport is not None and transport.durable


def _told(edge: EdgePlan, plan: Plan) -> EdgePlan:
    answers = edge.name in awaited_edges(plan.nodes.values(), plan.edges)
    return replace(edge, sessions=plan.nodes[edge.target].affinity is not None, answers=answers)


def _check_cuts(plan: Plan, here: set[str]) -> Iterator[Diagnostic]:
    for index, edge in enumerate(plan.edges):
        if (edge.source in here) is not (edge.target in here) and not _is_carried(edge, plan):
            inside, outside = (edge.source, edge.target) if edge.source in here else (edge.target, edge.source)
            text = f"edge `{edge.name}` is cut, since `{outside}` does not run beside `{inside}`, but it is in memory"
            hint = f"let it go `via` a broker, or run `{outside}` too"
            yield diagnose("cut-in-memory", text, edge_key(index), hint=hint)


def _end(kind: Any, edge: EdgePlan, plan: Plan) -> EndPlan:
    transport = plan.transports[edge.via]
    edge = _told(edge, plan)
    name = outlet_name(edge) if kind == "sink" else inlet_name(edge)
    common = {"name": name, "kind": kind, "type": transport.type, "options": transport.options}
    ends = {"transport": transport, "edge": edge}
    plugin = EndPlan(**common, cls=transport.cls, **ends).build()  # type: ignore[arg-type]
    declared = ask_declarations(lambda _: plugin, transport.options)
    given: dict[str, Any] = {}
    if kind == "sink":
        # Records of callers stay in the outlet until their outcome comes back. Of others, those that are published at
        # the same time may be stored in another order.
        given["concurrency"] = plan.max_in_flight if edge.answers else plugin.default_concurrency
        given["affinity"] = None if edge.answers else plan.nodes[edge.target].affinity
    return EndPlan(**common, cls=type(plugin), **declared, **given, **ends)


def _before(edge: EdgePlan, outlet: NodePlan) -> EdgePlan:
    """Give the edge in memory before an outlet. What is full is shed at the broker, not here."""
    return replace(
        edge,
        target=outlet.name,
        called=outlet.name,
        via="memory",
        capacity=min(edge.capacity, outlet.concurrency),
        when_full="block",
    )


def _behind(edge: EdgePlan, inlet: NodePlan, target: NodePlan) -> EdgePlan:
    capacity = max(1, min(edge.capacity, _AHEAD * target.concurrency))
    return EdgePlan(inlet.name, edge.target, capacity=capacity, called=inlet.name)


def _used_workers(plan: Plan, nodes: dict[str, NodePlan]) -> set[str]:
    found = [worker for node in nodes.values() for worker in node.workers]
    for name in found:
        found += [member for member in plan.workers[name].workers if member not in found]
    return set(found)
