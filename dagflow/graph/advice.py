"""Advice: warnings about what is allowed, but can hardly be meant.

A warning is only given where it is certain: advice that is wrong once is not read again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dagflow.config.diagnostics import Diagnostic, diagnose
from dagflow.config.shape import leaves, named_workers
from dagflow.config.suggest import did_you_mean
from dagflow.expressions import Template
from dagflow.graph.crowding import advise_crowding
from dagflow.graph.draft import edge_key
from dagflow.graph.idle import check_idle
from dagflow.graph.sharing import advise_sharing
from dagflow.graph.straits import check_straits
from dagflow.record import ALWAYS_READABLE
from dagflow.units import render_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.config.document import Document
    from dagflow.graph.draft import Draft
    from dagflow.graph.fields import Flow


def advise(draft: Draft, document: Document, flow: Flow | None) -> Iterator[Diagnostic]:
    """Give all warnings about the graph."""
    yield from _unused_workers(draft)
    yield from _long_timeouts(draft)
    yield from check_idle(draft, document)
    yield from check_straits(draft)
    yield from advise_crowding(draft, document)
    yield from advise_sharing(draft)
    if not draft.edges_lost:
        yield from _unconnected_ports(draft)
    if flow is not None:
        yield from _undefined_in_conditions(draft, flow)
        yield from _single_braces(draft, flow)


def _unused_workers(draft: Draft) -> Iterator[Diagnostic]:
    if len(draft.nodes) < len(draft.kinds) or len(draft.workers) < len(draft.worker_names):
        return  # what could not be read may use them
    used = {name for node in draft.nodes.values() for name in node.workers}
    for worker in draft.workers.values():
        used |= {leaf.value for leaf in named_workers(worker.options)}
    for name in draft.worker_names:
        if name not in used:
            hint = "name it in a stage, or remove the table"
            yield diagnose("unused-worker", f"no stage uses worker `{name}`", ("workers", name), hint=hint)


def _long_timeouts(draft: Draft) -> Iterator[Diagnostic]:
    if draft.pipeline is None:
        return
    drain_s = draft.pipeline.drain_timeout
    for name, node in draft.nodes.items():
        if node.timeout_s is not None and node.timeout_s > drain_s:
            longest, drain = render_duration(node.timeout_s), render_duration(drain_s)
            text = f"one attempt of {draft.label(name)} may take {longest}, but a drain waits only {drain}"
            hint = f'set `drain_timeout` of `[pipeline]` to at least "{longest}"'
            yield diagnose("timeout-exceeds-drain", text, (*draft.node_key(name), "timeout"), hint=hint)


def _unconnected_ports(draft: Draft) -> Iterator[Diagnostic]:
    for name, node in draft.nodes.items():
        for port in sorted(node.ports - draft.by_port(name).keys()):
            text = f"no edge leaves `{name}.{port}`, so that records which choose this port have nowhere to go"
            hint = f'add an edge `{{ from = "{name}.{port}", to = "..." }}`'
            yield diagnose("unconnected-port", text, draft.node_key(name), hint=hint)


def _undefined_in_conditions(draft: Draft, flow: Flow) -> Iterator[Diagnostic]:
    for index, edge in draft.edges.items():
        known = flow.along[index].maybe if edge.when is not None and index in flow.along else None
        for name in sorted(edge.when.required - known) if edge.when is not None and known is not None else ():
            text = f"condition uses `{name}`, which nothing before it writes, so that it counts as false"
            hint = did_you_mean(name, known | ALWAYS_READABLE) or _filter_hint(name)
            yield diagnose("undefined-in-condition", text, edge_key(index, "when"), hint=hint)


def _filter_hint(name: str) -> str | None:
    """Help with what other languages write as a call: `len(input)`."""
    from jinja2.defaults import DEFAULT_FILTERS

    name = {"len": "length", "str": "string"}.get(name, name)
    return f"conditions call it a filter: `... | {name}`" if name in DEFAULT_FILTERS else None


def _single_braces(draft: Draft, flow: Flow) -> Iterator[Diagnostic]:
    """Find templates that say `{input}`, which is plain text, where `input` is a field."""
    for name in filter(draft.nodes.__contains__, flow.before):
        options, fields = draft.nodes[name].options, flow.before[name].maybe or ()
        for leaf in leaves(type(options), options.model_dump(by_alias=True, warnings=False)):
            found = re.findall(r"(?<!\{)\{(\w+)\}(?!\})", leaf.value) if leaf.annotation is Template else ()
            for field in filter(fields.__contains__, dict.fromkeys(found)):
                text = f"`{{{field}}}` in a template is plain text, though there is a field `{field}`"
                key = (*draft.node_key(name), *leaf.key)
                yield diagnose("single-braces", text, key, hint=f"write `{{{{ {field} }}}}`")
