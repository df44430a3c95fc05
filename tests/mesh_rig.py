"""One pipeline on a broker, in several engines: `in -> work -> out`, where both edges go over it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

from dagflow.compile import compile_text
from dagflow.engine.engine import Engine
from dagflow.graph.cutting import cut_plan
from dagflow.mesh.needs import apply, needs_of
from dagflow.testing.alone import SILENT

FIRST, SECOND = "p_EDGE_in_TO_work", "p_EDGE_work_TO_out"
TABLES = """
[sources.in]
type = "generate"
count = 200
{source}
[stages.work]
type = "sleep"
delay = "1ms"
concurrency = 4
{stage}
[sinks.out]
{sink}
"""


def text(
    bus: str,
    first: str = "",
    second: str = "",
    source: str = "",
    stage: str = "",
    sink: str = 'type = "null"',
    top: str = "",
) -> str:
    """A file; `bus` is the table of its transport, `first` and `second` are settings of its edges."""
    edges = f'{{ from = "in", to = "work", via = "bus"{first} }}, {{ from = "work", to = "out", via = "bus"{second} }}'
    head = f'[pipeline]\nname = "p"\ndrain_timeout = "2s"\nedges = [{edges}]\n{top}\n[transports.bus]\n{bus}\n'
    return head + TABLES.format(source=source, stage=stage, sink=sink)


def nats_bus(url: str, more: str = "") -> str:
    """The table of a transport of NATS."""
    return f'type = "nats"\nservers = ["{url}"]\n{more}'


def part(file: str, *nodes: str) -> Engine:
    """The engine of some nodes of a file."""
    return Engine(cut_plan(compile_text(file), nodes), log=SILENT)


async def make(file: str) -> None:
    """Create what a file needs."""
    assert all(finding.is_well for finding in await apply(needs_of(compile_text(file))))


@asynccontextmanager
async def running(*engines: Engine):
    """Run engines as long as the block lasts; each is ended in good order, unless it has ended by itself."""
    tasks = [asyncio.ensure_future(engine.run()) for engine in engines]
    try:
        for engine, task in zip(engines, tasks, strict=True):
            started = asyncio.ensure_future(engine.started.wait())
            await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
            started.cancel()
            if task.done():
                task.result()
        yield tasks
    finally:
        for engine in engines:
            engine.stop("the test is over")
        await asyncio.gather(*tasks)


def delivered(*engines: Engine) -> int:
    """How many records these have delivered."""
    return sum(engine.report()["outcomes"]["delivered"] for engine in engines)


def outcomes(report: dict[str, Any]) -> dict[str, int]:
    """The outcomes that occurred."""
    return {name: count for name, count in report["outcomes"].items() if count}


def check_books(*engines: Engine) -> None:
    """Check that the books of each balance, and that over all of them what was handed off was taken over."""
    reports = [engine.report() for engine in engines]
    for report in reports:
        come = report["accepted"] + report["taken_over"] + report.get("forked", 0)
        gone = sum(report["outcomes"].values()) + report["handed_off"] + report.get("given_back", 0)
        assert come == gone + report["in_flight"], report
    taken = sum(report["taken_over"] - report.get("given_back", 0) for report in reports)
    again = sum(row["metrics"].get("duplicates", 0) for report in reports for row in report["nodes"].values())
    assert sum(report["handed_off"] for report in reports) - again == taken, reports
