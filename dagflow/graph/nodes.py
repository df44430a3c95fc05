"""Nodes, workers and transports: from their tables to plans, by the plugins that their types name.

A table is split in two: the engine's keys are validated here, the rest is the plugin's. A node
with any error is left out of the draft.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from dagflow.config.diagnostics import Diagnostic, diagnose
from dagflow.config.layout import NODE_KINDS, has_nameless, named_tables, stray_names
from dagflow.config.refusals import Subject
from dagflow.config.shape import named_workers
from dagflow.config.suggest import did_you_mean
from dagflow.config.tables import NAMED_TABLES, engine_keys
from dagflow.config.validation import validate
from dagflow.errors import describe
from dagflow.graph.plan import JoinPlan, NodePlan, RetryPlan, WorkerPlan
from dagflow.graph.plugins import ask_declarations, load_plugin, missing_type_hint
from dagflow.graph.transport_plan import TransportPlan
from dagflow.units import render_duration

if TYPE_CHECKING:
    from pydantic import BaseModel

    from dagflow.config.document import Document
    from dagflow.config.keys import Key
    from dagflow.graph.draft import Draft
    from dagflow.registry import Registry


class _Parts(NamedTuple):
    """A table, validated: the engine's share, the plugin, and the plugin's options."""

    table: Any
    cls: type[Any]
    options: BaseModel


def build_nodes(draft: Draft, document: Document, registry: Registry) -> list[Diagnostic]:
    """Put all nodes, workers and transports that can be built into the draft."""
    builder = _Builder(draft, document, registry)
    draft.worker_names = tuple(named_tables(document, "worker"))
    draft.strays, draft.nameless = stray_names(document), has_nameless(document)
    for kind in NODE_KINDS:
        for name, table in named_tables(document, kind).items():
            draft.kinds.setdefault(name, kind)
            builder.add_node(kind, name, table)
    for name, table in named_tables(document, "worker").items():
        builder.add_worker(name, table)
    for name, table in named_tables(document, "transport").items():
        builder.add_transport(name, table)
    return builder.diagnostics


class _Builder:
    def __init__(self, draft: Draft, document: Document, registry: Registry) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._draft = draft
        self._document = document
        self._registry = registry

    def add_node(self, kind: Any, name: str, table: dict[str, Any]) -> None:
        key = (f"{kind}s", name)
        parts = self._parts(kind, name, table, key)
        workers = None if parts is None else self._workers(parts.options, key)
        repeated = self._draft.kinds[name] != kind  # the name stands for another node; told as `duplicate-name`
        if parts is None or workers is None or repeated:
            return
        try:
            declared = ask_declarations(parts.cls, parts.options)
        except Exception as error:
            text = f"{kind} type `{parts.table.type}` cannot say what it reads and writes: {describe(error)}"
            self._report("broken-plugin", text, (*key, "type"))
        else:
            common = {"name": name, "kind": kind, "type": parts.table.type, "cls": parts.cls, "options": parts.options}
            self._draft.nodes[name] = NodePlan(**common, **_settings(parts), **declared, workers=workers)

    def add_worker(self, name: str, table: dict[str, Any]) -> None:
        key = ("workers", name)
        parts = self._parts("worker", name, table, key)
        workers = None if parts is None else self._workers(parts.options, key)
        if workers is not None:
            plan = WorkerPlan(name, parts.table.type, parts.cls, parts.options, parts.table, workers)
            self._draft.workers[name] = plan

    def add_transport(self, name: str, table: dict[str, Any]) -> None:
        parts = self._parts("transport", name, table, ("transports", name))
        if parts is not None:
            self._draft.transports[name] = TransportPlan(name, parts.table.type, parts.cls, parts.options)

    def _parts(self, kind: str, name: str, values: dict[str, Any], key: Key) -> _Parts | None:
        mine = engine_keys(kind)
        own = {k: v for k, v in values.items() if k in mine}
        table, found = validate(NAMED_TABLES[kind], own, Subject(key, f"{kind} `{name}`"), self._document)
        self.diagnostics += [self._with_types(d, kind, values) for d in found]
        cls = self._load(kind, values.get("type"), (*key, "type"))
        if cls is None:
            return None
        theirs = {k: v for k, v in values.items() if k not in mine}
        options = self._options(cls, theirs, Subject(key, f"{kind} type `{values['type']}`", mine))
        if table is None or options is None or not self._retries_well(table, key):
            return None
        if kind in ("stage", "sink"):
            table = table.model_copy(update={"concurrency": table.concurrency or cls.default_concurrency})
        self._draft.tables[key] = table
        return _Parts(table, cls, options)

    def _retries_well(self, table: Any, key: Key) -> bool:
        retry = getattr(table, "retry", None)
        if retry is None or retry.backoff <= retry.max_backoff:
            return True
        first, most = render_duration(retry.backoff), render_duration(retry.max_backoff)
        text = f"`backoff` is {first}, but `max_backoff` is {most}"
        hint = f'set `max_backoff` to at least "{first}"'
        self._report("backoff-above-max", text, (*key, "retry", "backoff"), hint)
        return False

    def _with_types(self, diagnostic: Diagnostic, kind: str, values: dict[str, Any]) -> Diagnostic:
        if diagnostic.code != "missing-option":  # of the engine's keys, only `type` must be given
            return diagnostic
        return replace(diagnostic, hint=missing_type_hint(self._registry.names(kind), values))

    def _load(self, kind: str, type_name: Any, key: Key) -> type[Any] | None:
        if not isinstance(type_name, str):
            return None  # a missing or wrong `type` has been told
        found = load_plugin(self._registry, kind, type_name, key)
        if isinstance(found, Diagnostic):
            self.diagnostics.append(found)
            return None
        return found

    def _options(self, cls: type[Any], values: dict[str, Any], subject: Subject) -> BaseModel | None:
        try:
            options, found = validate(cls.Options, values, subject, self._document)
        except Exception as error:
            self._report("broken-plugin", f"{subject.what} fails on its options: {describe(error)}", subject.key)
            return None
        self.diagnostics += found
        return options

    def _workers(self, options: BaseModel, key: Key) -> tuple[str, ...] | None:
        """Give the workers that the options name, defaults included; None if one does not exist."""
        known, names = self._draft.worker_names, dict[str, None]()
        complete = True
        for leaf in named_workers(options):
            if leaf.value in known:
                names[leaf.value] = None
            else:
                complete = False
                if not self._draft.is_stray(leaf.value):
                    hint = did_you_mean(leaf.value, known) or f"add a table `[workers.{leaf.value}]`"
                    self._report("unknown-worker", f"there is no worker `{leaf.value}`", (*key, *leaf.key), hint)
        return tuple(names) if complete else None

    def _report(self, code: str, message: str, key: Key, hint: str | None = None) -> None:
        self.diagnostics.append(diagnose(code, message, key, hint=hint))


def _join(table: Any) -> JoinPlan | None:
    """Give how a node joins; what its table leaves open is as the plan says."""
    if table.join is None:
        return None
    given = {"timeout_s": table.join_timeout, "on_missing": table.on_missing}
    return JoinPlan(table.join, **{name: value for name, value in given.items() if value is not None})


def _settings(parts: _Parts) -> dict[str, Any]:
    """Give the engine's share of a node plan."""
    table = parts.table
    given = {name: getattr(table, name) for name in ("fan_out", "unmatched") if hasattr(table, name)}
    if hasattr(table, "concurrency"):
        retry = table.retry
        given["concurrency"] = table.concurrency
        given["timeout_s"] = table.timeout
        given["retry"] = RetryPlan(
            retry.attempts,
            retry.backoff,
            retry.max_backoff,
            getattr(parts.cls, "default_retry_budget", None) if retry.budget is None else retry.budget,
        )
        given["on_error"] = table.on_error or "dead_letter"
        given["affinity"] = table.affinity
        given["join"] = _join(table)
    return given
