"""Live completions that nobody reads: the slot that makes them never waits for a reader that will not come."""

from __future__ import annotations

import anyio
import pytest
from rigs import Flow, FunctionStage, ListSink, ListSource, edge_of, records

from dagflow.completion import Completion
from dagflow.errors import RecordError
from dagflow.exchange import Chunk
from dagflow.graph.plan import RetryPlan
from dagflow.live_stream import LIVE_CAPACITY
from dagflow.record import Record

pytestmark = pytest.mark.anyio

LENGTH = LIVE_CAPACITY * 3


async def speak(record):
    """A stage that goes on with its first chunk, and feeds more than fit into a stream."""
    completion = record["completion"] = Completion.live()
    await completion.feed(Chunk("x"))
    yield record
    for _ in range(LENGTH - 2):
        await completion.feed(Chunk("x"))
    await completion.feed(Chunk("x", "stop"))
    completion.finish()


async def same(record):
    """A node that hands on what it gets, or delivers it unread."""
    return record


async def drop(record):
    """A node that filters, or delivers unread."""
    return


async def replace(record):
    """A stage that goes on with something else."""
    return Record({"text": "no answer"})


async def broken(record):
    """A node that raises."""
    raise RecordError("no")


async def read_one(record):
    """A sink that raises while it reads."""
    async for _ in record["completion"].chunks():
        raise RecordError("no")


def live_flow(stage=same, sink=same, way_in="speak -> s", way_out="s -> out", more=(), **settings):
    """Six records, one after the other, through a stage whose completions stay live up to the sink."""
    plugins = {
        "in": ListSource(records(6)),
        "speak": FunctionStage(speak),
        "s": FunctionStage(stage),
        "out": ListSink(sink),
        "bad": ListSink(),
    }
    if not more:
        del plugins["bad"]
    edges = ["in -> speak", way_in, way_out, *more]
    return Flow(plugins, edges, {"speak": {"live": True}, "s": {"live": True}, **settings})


async def outcomes_of(flow):
    """Run within a time that only a hanging slot exceeds, and give the outcomes."""
    with anyio.fail_after(10):
        await flow.run()
    return flow.outcomes


@pytest.mark.parametrize(
    ("stage", "sink", "outcome"),
    [
        (same, same, "delivered"),
        (drop, same, "filtered"),
        (replace, same, "delivered"),
        (broken, same, "failed"),
        (same, broken, "failed"),
        (same, read_one, "failed"),
    ],
)
async def test_a_record_that_ends_unread_frees_its_producer(stage, sink, outcome):
    """Filtered, replaced, failed, or delivered by a sink that did not look."""
    assert await outcomes_of(live_flow(stage, sink)) == {outcome: 6}


async def test_a_record_that_an_edge_sheds_frees_its_producer():
    """What is thrown away with a record is not waited for."""
    way_in = edge_of("speak -> s", capacity=1, when_full="drop_newest")
    outcomes = await outcomes_of(live_flow(way_in=way_in, speak={"live": True, "concurrency": 4}))
    assert outcomes["shed"] + outcomes["delivered"] == 6
    assert outcomes["shed"] > 0


async def test_behind_an_error_port_a_completion_is_whole():
    """Nobody forwards chunks there: the record goes on when its stream has ended."""
    seen = []

    async def look(record):
        seen.append((len(record["completion"].text), record["completion"].finish_reason))

    flow = live_flow(sink=broken, more=["out.error -> bad"], out={"on_error": "port"})
    flow.plugins["bad"].write = look
    assert await outcomes_of(flow) == {"delivered": 6}
    assert seen == [(LENGTH, "stop")] * 6


async def test_a_retried_sink_reads_the_whole():
    """Its first attempt has had some chunks: the second gets the answer as one."""
    got = []

    async def fussy(record):
        chunks = [chunk.text async for chunk in record["completion"].chunks()]
        got.append(chunks)
        if len(got) == 1:
            error = RecordError("again")
            error.retryable = True
            raise error

    flow = live_flow(sink=fussy, out={"retry": RetryPlan(2, 0.0, 0.0)})
    assert await outcomes_of(flow) == {"delivered": 6}
    assert [len(chunks) for chunks in got[:2]] == [LENGTH, 1]
    assert got[1] == ["x" * LENGTH]


async def test_a_forced_end_lets_everybody_go():
    """Readers, producers and what waits between them."""

    async def stuck(record):
        async for _ in record["completion"].chunks():
            await anyio.sleep_forever()

    flow = live_flow(sink=stuck)
    engine = flow.engine()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.started.wait()
        await anyio.wait_all_tasks_blocked()
        engine.force("test")
    assert engine.report()["outcomes"]["cancelled"] == 6
