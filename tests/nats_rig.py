"""Pipelines that read a stream `IN` and write a stream `OUT` of a real server of NATS."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

from dagflow.compile import compile_text
from dagflow.engine.engine import Engine
from dagflow.testing.alone import SILENT

SOURCE = 'type = "nats"\nstream = "IN"\nconsumer = "c"\nredelivery_delay = "10ms"\n'
NULL = 'type = "null"\n'
SLEEP = 'type = "sleep"\ndelay = "1ms"\n'


def text(
    url: str, source: str = "", stage: str = SLEEP, sink: str = NULL, top: str = "", first: str = "", more: str = ""
) -> str:
    """A file: `in -> work -> out`; `first` are settings of the first edge, `more` of the pipeline."""
    where = f'servers = ["{url}"]\n'
    return f"""
[pipeline]
{more}
edges = [{{ from = "in", to = "work"{first} }}, {{ from = "work", to = "out" }}]
{top}
[sources.in]
{where}{SOURCE}{source}
[stages.work]
{stage}
[sinks.out]
{sink}{where if "nats" in sink else ""}
"""


async def run(file: str, log: Any = SILENT) -> dict[str, Any]:
    """Run a file to its end, and give the report."""
    return await Engine(compile_text(file), log=log).run()


def outcomes(report: dict[str, Any]) -> dict[str, int]:
    """The outcomes that occurred."""
    return {name: count for name, count in report["outcomes"].items() if count}


@asynccontextmanager
async def running(file: str, log: Any = SILENT):
    """Run a file as long as the block lasts; gives the engine."""
    engine = Engine(compile_text(file), log=log)
    task = asyncio.ensure_future(engine.run())
    started = asyncio.ensure_future(engine.started.wait())
    await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
    started.cancel()
    try:
        yield engine
    finally:
        engine.stop("the test is over")
        await task


def settled(engine: Engine) -> int:
    """How many records have an outcome."""
    return sum(engine.report()["outcomes"].values())


async def until_async(holds, timeout_s: float = 20.0) -> None:
    """Wait until a condition holds that has to be asked for."""
    async with asyncio.timeout(timeout_s):
        while not await holds():
            await asyncio.sleep(0.01)
