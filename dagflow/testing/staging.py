"""Staging: a plan whose sources give a test's inputs, and whose sinks collect.

Nodes of a test's own classes stay what they are; they are only listened to.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dagflow.completion import Completion
from dagflow.plugin import Sink, Source
from dagflow.record import Record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from dagflow.errors import RecordError
    from dagflow.graph.plan import NodePlan, Plan
    from dagflow.plugin import ModelWorker, Plugin
    from dagflow.record import Outcome

Fields = Record | Mapping[str, Any]
Inputs = Iterable[Fields] | Mapping[str, Iterable[Fields]] | None
Build = Callable[[Any], Any]


@dataclass(slots=True)
class Run:
    """What came out of a run.

    Attributes:
        outputs: by sink, copies of the records that it took, in that order.
        outcomes: by record id, how it ended.
        errors: by record id, why it failed or expired.
        report: the run report; empty until the end.
    """

    outputs: dict[str, list[Record]] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    errors: dict[str, RecordError] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)

    def note_outcome(self, record: Record, outcome: Outcome) -> None:
        """Note how a record ended."""
        self.outcomes[record.id] = outcome
        if record.ticket is not None and record.ticket.error is not None:
            self.errors[record.id] = record.ticket.error

    def note_output(self, sink: str, record: Record) -> None:
        """Note what a sink took."""
        self.outputs[sink].append(
            Record(record, record.id, record.session, record.priority, record.deadline, record.meta)
        )


class InputSource(Source):
    """Gives a test's inputs, and ends."""

    def __init__(self, records: Iterable[Record]) -> None:
        super().__init__()
        self._records = records

    async def records(self) -> AsyncIterator[Record]:
        """Give them in order."""
        for record in self._records:
            yield record


class CollectingSink(Sink):
    """Takes every record; waits for the end of what is live."""

    forwards_live = True

    async def write(self, record: Record) -> None:
        """Take it."""
        for value in tuple(record.values()):  # the end of a stream may add fields
            if isinstance(value, Completion):
                await value.whole()


def stage_plan(
    plan: Plan,
    run: Run,
    inputs: Inputs,
    own: Collection[type[Plugin]],
    workers: Mapping[str, ModelWorker],
    sinks: Mapping[str, Sink],
) -> Plan:
    """Give the plan with its stand-ins, each of which notes in `run` what comes by.

    Raises:
        ValueError: a name is not in the plan.
    """
    names = {kind: [node.name for node in plan.of_kind(kind)] for kind in ("source", "sink")}
    given = _by_source(inputs, names["source"])
    _check_names("source", given or (), names["source"])
    _check_names("worker", workers, plan.workers)
    _check_names("sink", sinks, names["sink"])
    builds = _builds_of_sources(plan, given, own) | _builds_of_sinks(plan, sinks, own)
    listened = {name: replace(plan.nodes[name], cls=_listened(plan.nodes[name], builds[name], run)) for name in builds}
    stand_ins = {name: replace(plan.workers[name], cls=_always(worker)) for name, worker in workers.items()}
    return replace(plan, nodes={**plan.nodes, **listened}, workers={**plan.workers, **stand_ins})


def _builds_of_sources(
    plan: Plan, given: Mapping[str, list[Record]] | None, own: Collection[type[Plugin]]
) -> dict[str, Build]:
    return {
        node.name: node.cls
        if given is None or (node.cls in own and node.name not in given)
        else _always(InputSource(given.get(node.name, ())))
        for node in plan.of_kind("source")
    }


def _builds_of_sinks(plan: Plan, sinks: Mapping[str, Sink], own: Collection[type[Plugin]]) -> dict[str, Build]:
    return {
        node.name: node.cls
        if node.cls in own and node.name not in sinks
        else _always(sinks.get(node.name) or CollectingSink())
        for node in plan.of_kind("sink")
    }


def _by_source(inputs: Inputs, sources: list[str]) -> dict[str, list[Record]] | None:
    if inputs is None:
        return None
    if isinstance(inputs, Mapping):
        return {name: _as_records(given, f"{name}:") for name, given in inputs.items()}
    if len(sources) > 1:
        raise ValueError(f"the text has several sources, {', '.join(sources)}; give each its inputs, by its name")
    return {sources[0]: _as_records(inputs, "")}


def _as_records(given: Iterable[Fields], prefix: str) -> list[Record]:
    records = [one if isinstance(one, Record) else Record(one) for one in given]
    for number, record in enumerate(records):
        record.id = record.id or f"{prefix}{number}"
    return records


def _check_names(kind: str, given: Iterable[str], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            raise ValueError(f"the text has no {kind} `{name}`; it has {', '.join(sorted(known)) or 'none'}")


def _always(plugin: Any) -> Build:
    return lambda _options: plugin


def _listened(node: NodePlan, build: Build, run: Run) -> Build:
    if node.kind == "source":
        return lambda options: _listen_to_source(build(options), run)
    run.outputs[node.name] = []
    return lambda options: _listen_to_sink(build(options), node.name, run)


def _listen_to_source(source: Any, run: Run) -> Any:
    settle = source.settle

    def listened(record: Record, outcome: Outcome) -> Any:
        run.note_outcome(record, outcome)
        return settle(record, outcome)

    source.settle = listened
    return source


def _listen_to_sink(sink: Any, name: str, run: Run) -> Any:
    write = sink.write

    async def listened(record: Record) -> None:
        await write(record)
        run.note_output(name, record)

    def listened_in_thread(record: Record) -> None:
        write(record)
        run.note_output(name, record)

    sink.write = listened if inspect.iscoroutinefunction(write) else listened_in_thread
    return sink
