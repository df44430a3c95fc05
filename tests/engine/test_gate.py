"""The gate at `max_in_flight`: exact, also with several sources, and with sources that are slow to be told."""

from __future__ import annotations

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from rigs import Flow, ListSink, ListSource, check_balance, check_told_once, records

pytestmark = pytest.mark.anyio


async def test_several_sources_share_the_gate():
    """Five sources that all have a record ready at the same moment: two places are two places."""
    start, peaks = anyio.Event(), []

    class Bursting(ListSource):
        async def records(self):
            await start.wait()
            async for record in super().records():
                yield record

    async def look(record):
        peaks.append(engine.report()["in_flight"])
        await anyio.lowlevel.checkpoint()
        peaks.append(engine.report()["in_flight"])

    sources = {f"in{index}": Bursting(records(10)) for index in range(5)}
    edges = [f"{name} -> out" for name in sources]
    engine = Flow({**sources, "out": ListSink(look)}, edges, {"out": {"concurrency": 5}}, max_in_flight=2).engine()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await wait_all_tasks_blocked()
        start.set()
    assert max(peaks) == 2
    assert engine.report()["outcomes"]["delivered"] == 50


async def test_a_stop_at_the_gate_keeps_what_its_source_gave():
    """A record that was taken from its source, and finds no place, is accepted when there is one."""
    release = anyio.Event()
    start = anyio.Event()

    class Bursting(ListSource):
        async def records(self):
            await start.wait()
            async for record in super().records():
                yield record

    async def wait(record):
        await release.wait()

    sources = {"a": Bursting(records(3), finite=False), "b": Bursting(records(3), finite=False)}
    engine = Flow({**sources, "out": ListSink(wait)}, ["a -> out", "b -> out"], max_in_flight=1).engine()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await wait_all_tasks_blocked()
        start.set()
        await wait_all_tasks_blocked()
        assert [source.handed_in for source in sources.values()] == [1, 1]
        assert engine.report()["accepted"] == 1
        engine.stop("SIGTERM")
        release.set()
    report = engine.report()
    check_balance(report)
    assert report["outcomes"]["delivered"] == report["accepted"] == 2


async def test_a_source_that_is_slow_to_be_told_holds_up_its_intake():
    """Records of which `settle` is not done keep their places: nothing piles up."""
    release = anyio.Event()

    class Slow(ListSource):
        async def settle(self, record, outcome):
            await release.wait()
            self.settled.append((record.id, outcome))

    source = Slow(records(20))
    engine = Flow({"in": source, "out": ListSink()}, ["in -> out"], max_in_flight=3).engine()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.started.wait()
        await wait_all_tasks_blocked()
        report = engine.report()
        assert source.handed_in == report["outcomes"]["delivered"] == 3
        assert report["in_flight"] == 0
        release.set()
    check_told_once(source, engine.report())
    assert len(source.settled) == 20
