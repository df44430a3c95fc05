"""Checks of the graph's form: what every pipeline needs, whatever its plugins do.

Each check gives diagnostics and changes nothing. Where an edge was lost to an earlier error,
checks that would only tell its consequences stay silent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.config.diagnostics import Diagnostic, diagnose
from dagflow.graph.carrying import check_carrying
from dagflow.graph.crowding import check_crowding
from dagflow.graph.draft import ERROR_PORT, edge_key
from dagflow.graph.gathering import check_gathering
from dagflow.graph.keeping import check_keeping
from dagflow.graph.order import find_cycles, forward_order, reachable
from dagflow.graph.resuming import check_resuming
from dagflow.graph.serving import check_serving
from dagflow.graph.sharing import check_sharing
from dagflow.graph.spilling import check_spilling
from dagflow.graph.workers import check_workers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dagflow.graph.draft import Draft


def check_graph(draft: Draft) -> Iterator[Diagnostic]:
    """Run all checks of the graph's form."""
    yield from _check_presence(draft)
    yield from _check_duplicates(draft)
    cyclic = yield from _check_cycles(draft)
    yield from check_gathering(draft)
    yield from check_workers(draft)
    yield from check_sharing(draft)
    if draft.edges and not draft.edges_lost:
        yield from _check_ways_in(draft, cyclic)
        yield from _check_ways_out(draft, cyclic)
        yield from _check_error_ports(draft)
        yield from _check_best_effort(draft)
        yield from check_serving(draft, bool(cyclic))
        yield from check_resuming(draft)
        yield from check_spilling(draft)
        yield from check_keeping(draft)
        yield from check_carrying(draft)
        yield from check_crowding(draft)


def _check_presence(draft: Draft) -> Iterator[Diagnostic]:
    if draft.kinds and not draft.edges and not draft.edges_lost:
        hint = 'name them under `[pipeline]`: `edges = [{ from = "a", to = "b" }]`'
        yield diagnose("no-edges", "the file has no edges, so that no record would move", ("pipeline",), hint=hint)


def _check_duplicates(draft: Draft) -> Iterator[Diagnostic]:
    first: dict[str, int] = {}
    for index, edge in draft.edges.items():
        if edge.name in first:
            text = f"edge `{edge.origin}` -> `{edge.target}` stands twice"
            hint = "keep one; two conditions are joined with `or`"
            yield diagnose("duplicate-edge", text, edge_key(index), hint=hint, others=[edge_key(first[edge.name])])
        first.setdefault(edge.name, index)


def _check_cycles(draft: Draft) -> Iterator[Diagnostic]:
    links = [(edge.source, edge.target) for edge in draft.edges.values()]
    if forward_order(draft.kinds, links) is not None:
        return set()
    cycles = find_cycles(list(draft.kinds), links)
    for cycle in cycles:
        steps = list(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
        indexes = [min(i for i, e in draft.edges.items() if (e.source, e.target) == step) for step in steps]
        noun = "stages" if all(draft.kinds[name] == "stage" for name in cycle) else "nodes"
        way = " -> ".join(f"`{name}`" for name in [*cycle, cycle[0]])
        text = f"{noun} wait for each other: {way}" if len(cycle) > 1 else f"{draft.label(cycle[0])} waits for itself"
        hint = f"remove {'one of these edges' if len(cycle) > 1 else 'this edge'}; a pipeline may not loop"
        first, *others = map(edge_key, indexes)
        yield diagnose("cycle", text, first, hint=hint, others=others)
    return {name for cycle in cycles for name in cycle}


def _check_ways_in(draft: Draft, cyclic: set[str]) -> Iterator[Diagnostic]:
    """Tell the first node of each stretch that no source leads to."""
    sources = [name for name, kind in draft.kinds.items() if kind == "source"]
    reached = reachable(sources, ((e.source, e.target) for e in draft.edges.values()))
    for name in _names(draft, draft.kinds.keys() - reached - cyclic if sources else ()):
        before = [edge.source for _, edge in draft.entering(name)]
        if not before:
            text = f"no edge goes to {draft.label(name)}, so that it never gets a record"
            hint = f'add an edge `{{ from = "...", to = "{name}" }}`, or remove the table'
            yield diagnose("unreachable-node", text, draft.node_key(name), hint=hint)


def _check_ways_out(draft: Draft, cyclic: set[str]) -> Iterator[Diagnostic]:
    """Tell the last node of each stretch that leads to no sink; error ports are no way out."""
    sinks = [name for name, kind in draft.kinds.items() if kind == "sink"]
    forward = [edge for edge in draft.edges.values() if edge.port != ERROR_PORT]
    safe = reachable(sinks, ((edge.target, edge.source) for edge in forward))
    connected = {name for edge in draft.edges.values() for name in (edge.source, edge.target)}
    for name in _names(draft, draft.kinds.keys() - safe - cyclic if sinks else ()):
        isolated = draft.kinds[name] == "stage" and name not in connected  # told as unreachable
        if not isolated and not any(edge.source == name for edge in forward):
            text = f"no edge leaves {draft.label(name)}, so that its records reach no sink"
            if any(draft.leaving(name)):
                text = f"edges leave {draft.label(name)} only by its error port, so that its records reach no sink"
            hint = f'add an edge `{{ from = "{name}", to = "..." }}`'
            yield diagnose("dead-end", text, draft.node_key(name), hint=hint)


def _check_error_ports(draft: Draft) -> Iterator[Diagnostic]:
    for name, node in draft.nodes.items():
        edges = draft.by_port(name).get(ERROR_PORT, [])
        if node.on_error == "port" and not edges:
            text = f"{draft.label(name)} sends failed records to its error port, but no edge leaves `{name}.error`"
            hint = f'add an edge `{{ from = "{name}.error", to = "..." }}`'
            yield diagnose("missing-error-edge", text, (*draft.node_key(name), "on_error"), hint=hint)
        for index, _ in edges if node.on_error != "port" else ():
            text = f"edge comes from `{name}.error`, but {draft.label(name)} sends nothing there"
            hint = f'add `on_error = "port"` to `[{draft.kinds[name]}s.{name}]`'
            yield diagnose("unexpected-error-edge", text, edge_key(index, "from"), hint=hint)


def _check_best_effort(draft: Draft) -> Iterator[Diagnostic]:
    for name in draft.kinds:
        for port, edges in draft.by_port(name).items():
            if all(edge.best_effort for _, edge in edges):
                origin = f"port `{name}.{port}`" if port else draft.label(name)
                text = f"every edge out of {origin} is best effort, so that its records would have no outcome"
                (first, _), *others = edges
                keys = [edge_key(index) for index, _ in others]
                hint = "take `best_effort` off one of them" if others else "take `best_effort` off it"
                yield diagnose("all-best-effort", text, edge_key(first, "best_effort"), hint=hint, others=keys)


def _names(draft: Draft, names: Iterable[str]) -> list[str]:
    """Sort names as the file does."""
    chosen = set(names)
    return [name for name in draft.kinds if name in chosen]
