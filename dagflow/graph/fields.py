"""Field flow: what is read was written before, on every way.

The flow goes forward over the graph. Along each edge it keeps two sets: the fields that every
record surely has there, and those that some record may have. A node that may write anything
makes both sets everything, which is written None. A group of which a node reads any one is kept
like a field: where two ways meet, each may have brought another one of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from dagflow.config.diagnostics import Diagnostic, diagnose
from dagflow.config.suggest import did_you_mean
from dagflow.graph.arrivals import Arrivals
from dagflow.graph.draft import ERROR_PORT
from dagflow.graph.order import forward_order
from dagflow.record import ALWAYS_READABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dagflow.graph.draft import Draft
    from dagflow.graph.plan import EdgePlan, NodePlan

Group = frozenset[str]
Fields = frozenset[str] | None
Certain = frozenset[str | Group] | None

USUAL_WRITERS: Final = {"prompt": "template", "context": "retrieve", "completion": "inference", "text": "post"}
"""Built-in stage types that write the usual fields, for hints."""


class State(NamedTuple):
    """The fields of records at one place, and the groups of which they have one; None is everything."""

    surely: Certain
    maybe: Fields

    def plus(self, written: Fields, groups: Iterable[Group] = ()) -> State:
        """Add what a node writes, and the groups that have one of it."""
        surely = _union(self.surely, written)
        if surely is not None:
            surely |= {group for group in groups if group & surely}
        return State(surely, _union(self.maybe, written))


@dataclass(slots=True)
class Flow:
    """The states before each node and along each edge, by position; only for what a source reaches.

    `groups` are those of which some node reads any one.
    """

    groups: frozenset[Group]
    before: dict[str, State] = field(default_factory=dict)
    along: dict[int, State] = field(default_factory=dict)


def trace_fields(draft: Draft) -> Flow | None:
    """Follow the fields through the graph; None if it has a cycle or lost an edge."""
    order = forward_order(draft.kinds, ((e.source, e.target) for e in draft.edges.values()))
    if order is None or draft.edges_lost:
        return None
    flow = Flow(frozenset(group for node in draft.nodes.values() for group in node.reads_any))
    for name in order:
        entering = [flow.along[index] for index, _ in draft.entering(name) if index in flow.along]
        if draft.kinds[name] == "source":
            before = State(frozenset(), frozenset())
        elif entering:
            before = _joined(name, entering, flow, draft) if _is_strict(name, draft) else _merged(entering)
        else:
            continue
        flow.before[name] = before
        for index, edge in draft.leaving(name):
            flow.along[index] = _after(name, edge, flow, draft)
    return flow


def check_fields(draft: Draft, flow: Flow) -> Iterator[Diagnostic]:
    """Find nodes that read what some record on its way to them does not have."""
    for name, before in flow.before.items():
        node = draft.nodes.get(name)
        if node is None:
            continue
        for group in _unmet(node, before):
            way = _way_without(name, group, draft, flow)
            if way is not None:
                yield _not_written(name, group, way, draft, flow)


def _after(name: str, edge: EdgePlan, flow: Flow, draft: Draft) -> State:
    node, before = draft.nodes.get(name), flow.before[name]
    if edge.port == ERROR_PORT:
        return before.plus(frozenset({ERROR_PORT}), flow.groups)
    if node is None:
        return State(None, None)
    told = frozenset().union(*_unmet(node, before))  # nobody behind it need miss that again
    return before.plus(told).plus(node.writes, flow.groups)


def _unmet(node: NodePlan, before: State) -> list[Group]:
    """Give the groups of fields of which the node reads one, and some record has none."""
    if before.surely is None:
        return []
    groups = [*(frozenset({name}) for name in sorted(node.reads)), *node.reads_any]
    return [group for group in groups if not group & ALWAYS_READABLE and not _has(before.surely, group)]


def _not_written(name: str, group: Group, way: list[str], draft: Draft, flow: Flow) -> Diagnostic:
    wanted = " or ".join(f"`{field}`" for field in sorted(group))
    maybe = flow.before[name].maybe or frozenset()
    if group & maybe:
        missing = f"but on the way {' -> '.join(f'`{step}`' for step in way)} nothing writes it"
    else:
        missing = f"but nothing on the way from `{way[0]}` writes it"
    text = f"{draft.label(name)} reads {wanted}, {missing}"
    return diagnose("field-not-written", text, draft.node_key(name), hint=_hint(name, group, maybe, draft))


def _way_without(name: str, group: Group, draft: Draft, flow: Flow) -> list[str] | None:
    """Find a way from a source along edges whose records surely have none of the fields; None if there is none."""
    ways, waiting = {name: [name]}, [name]
    while waiting:
        one = waiting.pop()
        if draft.kinds[one] == "source":
            return ways[one]
        for index, edge in reversed(list(draft.entering(one))):
            if index in flow.along and not _has(flow.along[index].surely, group) and edge.source not in ways:
                ways[edge.source] = [edge.origin, *ways[one]]
                waiting.append(edge.source)
    return None


def _hint(name: str, group: Group, maybe: frozenset[str], draft: Draft) -> str | None:
    for wanted in sorted(group - maybe):
        near = did_you_mean(wanted, maybe)
        if near:
            return near
        writers = [n for n, node in draft.nodes.items() if n != name and wanted in (node.writes or ())]
        if writers:
            return f"{draft.label(writers[0])} writes `{wanted}`; it must stand before `{name}` on every way"
        if wanted in USUAL_WRITERS:
            return f"put a stage that writes `{wanted}` before it, such as type `{USUAL_WRITERS[wanted]}`"
    there = ", ".join(f"`{field}`" for field in sorted(maybe))
    return f"its records have {there}" if there else None


def _has(fields: Certain, group: Group) -> bool:
    return fields is None or not fields.isdisjoint((*group, group))


def _is_strict(name: str, draft: Draft) -> bool:
    """Whether a node lets no record through that lacks a branch."""
    node = draft.nodes.get(name)
    return node is not None and node.join is not None and (node.join.mode, node.join.on_missing) == ("all", "fail")


def _joined(name: str, entering: list[State], flow: Flow, draft: Draft) -> State:
    """Give what records have that come out of a join: what one of the branches brings that surely come."""
    states = {index: flow.along[index] for index, _ in draft.entering(name) if index in flow.along}
    if Arrivals(name, [index for index, state in states.items() if state.surely is None], draft).are_sure:
        return State(None, _merged(entering).maybe)
    told = frozenset().union(*(state.surely or () for state in states.values()))
    bringing = {what: [i for i, s in states.items() if s.surely is None or what in s.surely] for what in told}
    surely = frozenset(what for what, inputs in bringing.items() if Arrivals(name, inputs, draft).are_sure)
    return State(surely, _merged(entering).maybe)


def _merged(states: list[State]) -> State:
    surely = [state.surely for state in states if state.surely is not None]
    maybe: Fields = frozenset()
    for state in states:
        maybe = _union(maybe, state.maybe)
    return State(frozenset.intersection(*surely) if surely else None, maybe)


def _union(one: Fields, other: Fields) -> Fields:
    return None if one is None or other is None else one | other
