"""Small pipelines for tests of the engine, built from functions, without a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

from dagflow.engine.engine import Engine
from dagflow.graph.plan import EdgePlan, NodePlan, Plan
from dagflow.plugin import NoOptions, Sink, Source, Stage
from dagflow.record import Outcome, Record
from dagflow.testing.alone import SILENT


class ListSource(Source):
    """Hands in given records; remembers what it was told."""

    def __init__(self, records: Iterable[Record], finite: bool = True, can_cancel: bool = False) -> None:
        super().__init__()
        self.finite = finite
        self.can_cancel = can_cancel
        self._records = records
        self.handed_in = 0
        self.settled: list[tuple[str, Outcome]] = []

    async def records(self) -> AsyncIterator[Record]:
        """Give the records in order."""
        for record in self._records:
            self.handed_in += 1
            yield record

    def settle(self, record: Record, outcome: Outcome) -> None:
        """Remember the outcome."""
        self.settled.append((record.id, outcome))


class FunctionStage(Stage):
    """A stage that is one function."""

    def __init__(self, function: Callable[[Record], Any]) -> None:
        super().__init__()
        self.process = function

    def process(self, record: Record) -> Any:
        """Replaced by the function."""


class ListSink(Sink):
    """Remembers what was written, as (id, fields)."""

    def __init__(self, write: Callable[[Record], Any] | None = None) -> None:
        super().__init__()
        self.written: list[tuple[str, dict[str, Any]]] = []
        if write is not None:
            self.write = write

    async def write(self, record: Record) -> None:
        """Remember the record."""
        self.written.append((record.id, dict(record)))

    @property
    def ids(self) -> list[str]:
        """The ids in the order of writing."""
        return [id for id, _ in self.written]


def records(count: int, **attributes: Any) -> list[Record]:
    """Make records `0`, `1`, ... whose field `n` is their number."""
    return [Record({"n": n}, str(n), **attributes) for n in range(count)]


class Flow:
    """A plan made of plugin objects, its engine, and its report once it has run."""

    def __init__(
        self,
        plugins: Mapping[str, Source | Stage | Sink],
        edges: Iterable[str | EdgePlan],
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        **plan: Any,
    ) -> None:
        self.plugins = plugins
        nodes = {name: self._node(name, plugin, (settings or {}).get(name, {})) for name, plugin in plugins.items()}
        parsed = tuple(edge if isinstance(edge, EdgePlan) else edge_of(edge) for edge in edges)
        self.plan = Plan("test", None, nodes, parsed, **plan)
        self.report: dict[str, Any] = {}

    def _node(self, name: str, plugin: Any, settings: Mapping[str, Any]) -> NodePlan:
        kind = "source" if isinstance(plugin, Source) else "stage" if isinstance(plugin, Stage) else "sink"
        return NodePlan(name, kind, "test", lambda _options: plugin, NoOptions(), **settings)

    def engine(self, **options: Any) -> Engine:
        """Wire the plan."""
        return Engine(self.plan, log=SILENT, **options)

    async def run(self, **options: Any) -> dict[str, Any]:
        """Run to the end, check that all books balance, and give the report."""
        self.report = await self.engine(**options).run()
        check_balance(self.report)
        return self.report

    @property
    def outcomes(self) -> dict[str, int]:
        """The outcomes that occurred."""
        return {name: count for name, count in self.report["outcomes"].items() if count}


def edge_of(text: str, **settings: Any) -> EdgePlan:
    """Read `a -> b` or `a.port -> b`."""
    origin, target = text.split(" -> ")
    source, _, port = origin.partition(".")
    return EdgePlan(source, target, port or None, **settings)


def chain(records: Iterable[Record], *functions: Callable[[Record], Any], **plan: Any) -> Flow:
    """A source, one stage `s0`, `s1`, ... for each function, and a sink `out`."""
    plugins: dict[str, Any] = {"in": ListSource(records)}
    plugins |= {f"s{index}": FunctionStage(function) for index, function in enumerate(functions)}
    plugins["out"] = ListSink()
    names = list(plugins)
    return Flow(plugins, [f"{a} -> {b}" for a, b in pairwise(names)], **plan)


def check_balance(report: Mapping[str, Any]) -> None:
    """Assert that the sums of a report balance."""
    assert report["accepted"] == sum(report["outcomes"].values()) + report["in_flight"]
    for name, edge in report["edges"].items():
        ended = edge["taken"] + edge["shed"] + edge["expired"] + edge["cancelled"] + edge["buffered"]
        assert edge["offered"] == ended, name


def check_told_once(source: ListSource, report: Mapping[str, Any]) -> None:
    """Assert that a source was told each outcome once, as the report counts them."""
    told = Counter(outcome.value for _, outcome in source.settled)
    assert told == {name: count for name, count in report["outcomes"].items() if count}
