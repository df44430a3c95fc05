"""Edges: from the elements of `pipeline.edges` to plans between nodes that exist.

An edge with an error is left out of the draft, which remembers that there was one.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from dagflow.config.diagnostics import Diagnostic, diagnose
from dagflow.config.layout import EDGES_HINT, named_tables
from dagflow.config.refusals import Subject
from dagflow.config.suggest import did_you_mean
from dagflow.config.tables import DefaultsTable, EdgeDefaults, EdgeTable
from dagflow.config.validation import validate
from dagflow.graph.draft import ERROR_PORT, edge_key
from dagflow.graph.plan import AGEING_S, EdgePlan, SpillPlan
from dagflow.graph.plugins import load_plugin
from dagflow.graph.spilling import check_spill
from dagflow.graph.transport_plan import TransportPlan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.config.document import Document
    from dagflow.config.keys import Key
    from dagflow.graph.draft import Draft
    from dagflow.registry import Registry

_LISTED: Final = 8  # nodes that a hint names; a reader looks through no more


def build_edges(draft: Draft, document: Document, registry: Registry) -> list[Diagnostic]:
    """Put all edges that can be built, and their transports, into a draft that has its nodes."""
    raw = document.table("pipeline").get("edges", [])
    draft.edges_lost = "edges" in document.tables or "edge" in document.tables  # told as an unknown table
    if not isinstance(raw, list):
        draft.edges_lost = True
        return [diagnose("wrong-type", "`pipeline.edges` is not an array", ("pipeline", "edges"), hint=EDGES_HINT)]
    defaults = draft.tables.get(("defaults",), DefaultsTable()).edge
    diagnostics = [
        *_check_blocking(defaults, ("defaults", "edge")),
        *check_spill(defaults, ("defaults", "edge"), defaults),
    ]
    for index, values in enumerate(raw):
        found = list(_add_edge(index, values, defaults, draft, document, registry))
        draft.edges_lost |= index not in draft.edges
        diagnostics += found
    return diagnostics


def _add_edge(
    index: int, values: Any, defaults: EdgeDefaults, draft: Draft, document: Document, registry: Registry
) -> Iterator[Diagnostic]:
    if not isinstance(values, dict):
        yield diagnose("wrong-type", "an edge is a table", edge_key(index), hint=f"write `{_as_edge(values)}`")
        return
    own, found = validate(EdgeTable, values, Subject(edge_key(index), "an edge"), document)
    yield from found
    if own is None:
        return
    table = _with_defaults(own, defaults)
    yield from _check_blocking(table, edge_key(index))
    if {"spill", "when_full"} & own.model_fields_set:  # else it was told of the defaults
        yield from check_spill(table, edge_key(index), defaults)
    yield from _add_transport(index, table.via, draft, document, registry)
    found = [*_check_start(index, table, draft), *_check_end(index, table, draft)]
    yield from found
    if not found and draft.kinds.keys() >= {table.source.partition(".")[0], table.target}:
        draft.tables[edge_key(index)] = table
        draft.edges[index] = _plan(table)


def _with_defaults(table: EdgeTable, defaults: EdgeDefaults) -> EdgeTable:
    inherited = {
        name: getattr(defaults, name) for name in EdgeDefaults.model_fields if name not in table.model_fields_set
    }
    if inherited.get("when_full", table.when_full) != "block":
        inherited.pop("block_timeout", None)  # a default for other edges than this one
    if inherited.get("when_full", table.when_full) != "spill":
        inherited.pop("spill", None)
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
        spill=None if table.spill is None else SpillPlan(table.spill.path, table.spill.max_bytes),
        max_wait_s=table.max_wait,
        order=table.order,
        ageing_s=AGEING_S if table.ageing is None else table.ageing,
        dead_letter=table.dead_letter,
        when=table.when,
        best_effort=table.best_effort,
        via=table.via,
    )


def _check_start(index: int, table: EdgeTable, draft: Draft) -> Iterator[Diagnostic]:
    name, dot, port = table.source.partition(".")
    key = edge_key(index, "from")
    if name not in draft.kinds:
        yield from _unknown_node("comes from", name, draft, key, "sink")
    elif draft.kinds[name] == "sink" and port != ERROR_PORT:
        yield diagnose("edge-out-of-sink", f"edge comes from sink `{name}`, where records end", key)
    elif dot and name in draft.nodes and port not in (ports := _ports(name, draft)):
        label = draft.label(name)
        has = f"only {', '.join(f'`{name}`' for name in ports)}" if ports else "and no other"
        yield diagnose("unknown-port", f"{label} has no port `{port}`, {has}", key, hint=did_you_mean(port, ports))


def _check_end(index: int, table: EdgeTable, draft: Draft) -> Iterator[Diagnostic]:
    name, dot, _ = table.target.partition(".")
    key = edge_key(index, "to")
    if name not in draft.kinds:
        yield from _unknown_node("goes to", name, draft, key, "source")
    elif dot:
        hint = f'write `to = "{name}"`; only `from` may name a port'
        yield diagnose("edge-into-port", f"edge goes to `{table.target}`, which is a port", key, hint=hint)
    elif draft.kinds[name] == "source":
        yield diagnose("edge-into-source", f"edge goes into source `{name}`, where records begin", key)


def _unknown_node(verb: str, name: str, draft: Draft, key: Key, impossible: str) -> Iterator[Diagnostic]:
    if draft.is_stray(name):
        return
    hint = did_you_mean(name, draft.kinds)
    if hint is None and name in draft.worker_names:
        hint = "it is a worker: a stage names it in its options, and no edge leads there"
    possible = [f"`{node}`" for node, kind in draft.kinds.items() if kind != impossible]
    if hint is None and 0 < len(possible) <= _LISTED:
        hint = f"there are {', '.join(possible)}"
    yield diagnose("unknown-node", f"edge {verb} `{name}`, which does not exist", key, hint=hint)


def _as_edge(values: Any) -> str:
    """Write what the user meant with `"a -> b"` or `["a", "b"]`."""
    parts = re.split(r"\s*->\s*", values) if isinstance(values, str) else values
    pair = parts if isinstance(parts, list) and len(parts) == 2 else ["a", "b"]
    return f'{{ from = "{pair[0]}", to = "{pair[1]}" }}'


def _ports(name: str, draft: Draft) -> list[str]:
    own = sorted(draft.nodes[name].ports)
    return own if draft.kinds[name] == "source" else [*own, ERROR_PORT]


def _add_transport(index: int, via: str, draft: Draft, document: Document, registry: Registry) -> Iterator[Diagnostic]:
    """Find what carries an edge: a table of the file, or a transport that needs none."""
    named, key = named_tables(document, "transport"), edge_key(index, "via")
    if via in draft.transports or via in named:  # what is wrong with a table has been told
        return
    found = load_plugin(registry, "transport", via, key)
    if not isinstance(found, Diagnostic) and found.durable:
        text = f"edge goes via `{via}`, but there is no table `[transports.{via}]`"
        found = diagnose("unknown-transport", text, key, hint=f'add `[transports.{via}]` with `type = "{via}"`')
    if not isinstance(found, Diagnostic):
        draft.transports[via] = TransportPlan(via, via, found, found.Options())
    elif named and found.code == "unknown-transport":
        listed = ", ".join(f"`{name}`" for name in named)
        yield replace(found, hint=did_you_mean(via, named) or f"the file has {listed}")
    else:
        yield found
