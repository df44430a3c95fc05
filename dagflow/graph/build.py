"""Build: a document to a draft, and a draft without errors to a plan."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dagflow.config.effective import effective_tables
from dagflow.config.refusals import Subject
from dagflow.config.tables import OPTIONAL_SETTINGS, SETTINGS
from dagflow.config.validation import validate
from dagflow.graph.crowding import process_count
from dagflow.graph.draft import Draft
from dagflow.graph.edges import build_edges
from dagflow.graph.exporters import build_exporters
from dagflow.graph.nodes import build_nodes
from dagflow.graph.order import forward_order
from dagflow.graph.plan import AdminPlan, CheckpointPlan, DeadLettersPlan, LoggingPlan, Plan, RuntimePlan
from dagflow.graph.transport_plan import SharedPlan
from dagflow.graph.workers import members_first

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import BaseModel

    from dagflow.config.diagnostics import Diagnostic
    from dagflow.config.document import Document
    from dagflow.config.keys import Key
    from dagflow.registry import Registry


def build_draft(document: Document, registry: Registry) -> tuple[Draft, list[Diagnostic]]:
    """Understand as much of the document as can be understood."""
    draft = Draft()
    diagnostics = [*_build_settings(draft, document), *build_nodes(draft, document, registry)]
    diagnostics += build_edges(draft, document, registry)
    diagnostics += build_exporters(draft, document, registry)
    draft.mark_live()
    return draft, diagnostics


def build_plan(draft: Draft, document: Document, warnings: Sequence[Diagnostic]) -> Plan:
    """Freeze a draft that has no errors."""
    pipeline, logging = draft.pipeline, draft.tables[("logging",)]
    links = [(edge.source, edge.target) for edge in draft.edges.values()]
    name = pipeline.name or (document.path.stem if document.path else "pipeline")
    return Plan(
        name=name,
        path=document.path,
        nodes={node: draft.nodes[node] for node in forward_order(draft.kinds, links) or ()},
        edges=tuple(draft.edges.values()),
        workers=members_first(draft.workers),
        transports=draft.transports,
        logging=LoggingPlan(logging.level, logging.format),
        dead_letters=_dead_letters(draft),
        checkpoint=_checkpoint(draft),
        auth=draft.tables.get(("auth",)),
        tracing=draft.tables.get(("tracing",)),
        exporters=draft.exporters,
        metric_labels=draft.tables[("metrics",)].labels if ("metrics",) in draft.tables else {},
        admin=_admin(draft),
        runtime=_runtime(draft),
        shared=_shared(draft, name),
        max_in_flight=pipeline.max_in_flight,
        drain_timeout_s=pipeline.drain_timeout,
        effective=effective_tables(document, _models(draft, name)),
        warnings=tuple(warnings),
    )


def _build_settings(draft: Draft, document: Document) -> Iterator[Diagnostic]:
    """Read the tables that are about the pipeline as a whole; edges are read one by one elsewhere."""
    given = {name: model for name, model in OPTIONAL_SETTINGS.items() if name in document.tables}
    for name, model in (SETTINGS | given).items():
        values = {key: value for key, value in document.table(name).items() if (name, key) != ("pipeline", "edges")}
        table, found = validate(model, values, Subject((name,), f"`[{name}]`"), document)
        yield from found
        if table is not None:
            draft.tables[(name,)] = table


def _dead_letters(draft: Draft) -> DeadLettersPlan | None:
    table = draft.tables.get(("dead_letters",))
    return None if table is None else DeadLettersPlan(table.path, table.max_records, table.max_age)


def _checkpoint(draft: Draft) -> CheckpointPlan | None:
    table = draft.tables.get(("checkpoint",))
    return None if table is None else CheckpointPlan(table.path)


def _admin(draft: Draft) -> AdminPlan | None:
    table = draft.tables.get(("admin",))
    return None if table is None else AdminPlan(table.listen, table.token_file)


def _runtime(draft: Draft) -> RuntimePlan:
    table = draft.tables[("runtime",)]
    return RuntimePlan(process_count(table), table.pin_cores, table.max_redeliveries)


def _shared(draft: Draft, name: str) -> SharedPlan | None:
    table = draft.tables.get(("shared",))
    if table is None:
        return None
    bucket = table.bucket or re.sub(r"[^a-zA-Z0-9_-]", "_", f"dagflow-{name}")
    return SharedPlan(draft.transports[table.transport], bucket)


def _models(draft: Draft, name: str) -> dict[Key, list[BaseModel]]:
    """Give the models behind each table of the file."""
    models = {key: [table] for key, table in draft.tables.items()}
    models[("pipeline",)] = [draft.tables[("pipeline",)].model_copy(update={"name": name})]
    for name, node in draft.nodes.items():
        models[draft.node_key(name)].append(node.options)
    for name, worker in draft.workers.items():
        models[("workers", name)].append(worker.options)
    for name, transport in draft.transports.items():
        if ("transports", name) in models:
            models[("transports", name)].append(transport.options)
    for name, exporter in draft.exporters.items():
        models[("metrics", name)].append(exporter.options)
    return models
