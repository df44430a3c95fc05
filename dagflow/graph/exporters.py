"""Exporters: from the tables in `[metrics]` to plans, by the plugins that their names mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.config.diagnostics import Diagnostic
from dagflow.config.metrics_tables import ExporterTable, MetricsTable
from dagflow.config.refusals import Subject
from dagflow.config.shape import fields_of
from dagflow.config.validation import validate
from dagflow.graph.plan import ExporterPlan
from dagflow.graph.plugins import load_plugin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.config.document import Document
    from dagflow.graph.draft import Draft
    from dagflow.registry import Registry


def build_exporters(draft: Draft, document: Document, registry: Registry) -> Iterator[Diagnostic]:
    """Put what `[metrics]` says into the draft: its labels, and each exporter that can be built."""
    values = document.table("metrics")
    known = fields_of(MetricsTable)
    own = {name: value for name, value in values.items() if name in known or not isinstance(value, dict)}
    table, found = validate(MetricsTable, own, Subject(("metrics",), "`[metrics]`"), document)
    yield from found
    if table is not None and values:
        draft.tables[("metrics",)] = table
    for name in filter(lambda name: name not in own, values):
        yield from _build_exporter(name, draft, document, registry)


def _build_exporter(name: str, draft: Draft, document: Document, registry: Registry) -> Iterator[Diagnostic]:
    key = ("metrics", name)
    cls = load_plugin(registry, "exporter", name, key)
    if isinstance(cls, Diagnostic):
        yield cls
        return
    mine = fields_of(ExporterTable)
    values = document.table("metrics")[name]
    engine = {k: v for k, v in values.items() if k in mine}
    theirs = {k: v for k, v in values.items() if k not in mine}
    table, found = validate(ExporterTable, engine, Subject(key, f"`[metrics.{name}]`"), document)
    options, wrong = validate(cls.Options, theirs, Subject(key, f"exporter `{name}`", frozenset(mine)), document)
    yield from [*found, *wrong]
    if table is not None and options is not None:
        draft.tables[key] = table
        draft.exporters[name] = ExporterPlan(name, cls, options, table.interval, table.timeout)
