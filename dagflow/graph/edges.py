"""Edges: from the elements of `pipeline.edges` to plans between nodes that exist.

An edge with an error is left out of the draft, which remembers that there was one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagflow.config.diagnostics import Diagnostic, diagnose
from dagflow.config.layout import EDGES_HINT
from dagflow.config.suggest import did_you_mean
from dagflow.config.tables import DefaultsTable, EdgeDefaults, EdgeTable
from dagflow.config.validation import Subject, validate
from dagflow.graph.draft import ERROR_PORT, edge_key
from dagflow.graph.nodes import load_plugin
from dagflow.graph.plan import EdgePlan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.config.document import Document
    from dagflow.config.keys import Key
    from dagflow.graph.draft import Draft
    from dagflow.registry import Registry


def build_edges(draft: Draft, document: Document, registry: Registry) -> list[Diagnostic]:
    """Put all edges that can be built, and their transports, into a draft that has its nodes."""
    raw = document.table("pipeline").get("edges", [])
    if not isinstance(raw, list):
        draft.edges_lost = True
        return [diagnose("wrong-type", "`pipeline.edges` is not an array", ("pipeline", "edges"), hint=EDGES_HINT)]
    defaults = draft.tables.get(("defaults",), DefaultsTable()).edge
    diagnostics = list(_check_blocking(defaults, ("defaults", "edge")))
    for index, values in enumerate(raw):
        found = list(_add_edge(index, values, defaults, draft, document, registry))
        draft.edges_lost |= index not in draft.edges
        diagnostics += found
    return diagnostics


def _add_edge(
    index: int, values: Any, defaults: EdgeDefaults, draft: Draft, document: Document, registry: Registry
) -> Iterator[Diagnostic]:
    if not isinstance(values, dict):
        yield diagnose("wrong-type", "an edge is a table", edge_key(index), hint='write `{ from = "a", to = "b" }`')
        return
    own, found = validate(EdgeTable, values, Subject(edge_key(index), "an edge"), document)
    yield from found
    if own is None:
        return
    table = _with_defaults(own, defaults)
    yield from _check_blocking(table, edge_key(index))
    yield from _add_transport(index, table.via, draft, registry)
    found = [*_check_start(index, table, draft), *_check_end(index, table, draft)]
    stray = draft.strays & {table.source.partition(".")[0], table.target}
    yield from () if stray else found
    if not found:
        draft.tables[edge_key(index)] = table
        draft.edges[index] = _plan(table)


def _with_defaults(table: EdgeTable, defaults: EdgeDefaults) -> EdgeTable:
    inherited = {
        name: getattr(defaults, name) for name in EdgeDefaults.model_fields if name not in table.model_fields_set
    }
    if inherited.get("when_full", table.when_full) != "block":
        inherited.pop("block_timeout", None)  # a default for other edges than this one
    return table.model_copy(update=inherited)


def _check_blocking(table: EdgeDefaults, key: Key) -> Iterator[Diagnostic]:
    if table.block_timeout is not None and table.when_full != "block":
        text = f'`block_timeout` needs `when_full = "block"`, but it is `{table.when_full}`'
        hint = 'remove `block_timeout`, or set `when_full = "block"`'
        yield diagnose("block-timeout-without-block", text, (*key, "block_timeout"), hint=hint)


def _plan(table: EdgeTable) -> EdgePlan:
    source, _, port = table.source.partition(".")
    return EdgePlan(
        source=source,
        target=table.target,
        port=port or None,
        capacity=table.capacity,
        max_bytes=table.max_bytes,
        when_full=table.when_full,
        block_timeout_s=table.block_timeout,
        max_wait_s=table.max_wait,
        when=table.when,
        best_effort=table.best_effort,
        via=table.via,
    )


def _check_start(index: int, table: EdgeTable, draft: Draft) -> Iterator[Diagnostic]:
    name, dot, port = table.source.partition(".")
    key = edge_key(index, "from")
    if name not in draft.kinds:
        yield _unknown_node("comes from", name, draft, index, "from")
    elif draft.kinds[name] == "sink" and port != ERROR_PORT:
        yield diagnose("edge-out-of-sink", f"edge comes from sink `{name}`, where records end", key)
    elif dot and name in draft.nodes and port not in (ports := _ports(name, draft)):
        label = draft.label(name)
        has = f"its ports are {_listed(ports)}" if ports else "it has none"
        yield diagnose("unknown-port", f"{label} has no port `{port}`; {has}", key, hint=did_you_mean(port, ports))


def _check_end(index: int, table: EdgeTable, draft: Draft) -> Iterator[Diagnostic]:
    name, dot, _ = table.target.partition(".")
    key = edge_key(index, "to")
    if name not in draft.kinds:
        yield _unknown_node("goes to", table.target, draft, index, "to")
    elif dot:
        hint = f'write `to = "{name}"`; only `from` may name a port'
        yield diagnose("edge-into-port", f"edge goes to `{table.target}`, which is a port", key, hint=hint)
    elif draft.kinds[name] == "source":
        yield diagnose("edge-into-source", f"edge goes into source `{name}`, where records begin", key)


def _unknown_node(verb: str, name: str, draft: Draft, index: int, end: str) -> Diagnostic:
    hint = did_you_mean(name, draft.kinds)
    if hint is None and name in draft.worker_names:
        hint = "it is a worker: a stage names it in its options, and no edge leads there"
    return diagnose("unknown-node", f"edge {verb} `{name}`, which does not exist", edge_key(index, end), hint=hint)


def _ports(name: str, draft: Draft) -> list[str]:
    own = sorted(draft.nodes[name].ports)
    return own if draft.kinds[name] == "source" else [*own, ERROR_PORT]


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _add_transport(index: int, via: str, draft: Draft, registry: Registry) -> Iterator[Diagnostic]:
    if via not in draft.transports:
        found = load_plugin(registry, "transport", via, edge_key(index, "via"))
        if isinstance(found, Diagnostic):
            yield found
        else:
            draft.transports[via] = found
