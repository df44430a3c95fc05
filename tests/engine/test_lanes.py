"""Lanes at work: the order within a session holds whatever happens to its records."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict

import anyio
import pytest
from rigs import Flow, FunctionStage, ListSink, ListSource, edge_of

from dagflow.errors import WorkerError
from dagflow.graph.plan import RetryPlan
from dagflow.record import Record
from dagflow.shares import bucket_of

SESSIONS = "abcdefg"
RETRY = RetryPlan(3, 0.0, 0.0)


def sessions(count):
    """Records of several sessions, in turn."""
    return [Record({"n": n}, str(n), session=SESSIONS[n % len(SESSIONS)]) for n in range(count)]


def flow_of(process, write=None, count=200, capacity=8, **settings):
    """A stage with lanes, between a source and a sink."""
    plugins = {"in": ListSource(sessions(count)), "s": FunctionStage(process), "out": ListSink(write)}
    settings = {"concurrency": 4, "affinity": "session"} | settings
    return Flow(plugins, [edge_of("in -> s", capacity=capacity), edge_of("s -> out", capacity=3)], {"s": settings})


def by_session(ids):
    """The numbers of each session, as they came."""
    found = defaultdict(list)
    for id in ids:
        found[SESSIONS[int(id) % len(SESSIONS)]].append(int(id))
    return found


@pytest.mark.parametrize("kind", ["pausing", "retried", "failing", "in a thread", "timed out"])
def test_the_order_within_a_session_is_kept(kind):
    """Under concurrency, retries, failures, timeouts and threads."""
    dice = random.Random(kind)

    async def pausing(record):
        for _ in range(dice.randrange(6)):
            await asyncio.sleep(0)
        return record

    async def retried(record):
        await asyncio.sleep(0)
        if dice.random() < 0.4:
            raise WorkerError("unavailable", "later")
        return record

    async def timed_out(record):
        if dice.random() < 0.1:
            await anyio.sleep_forever()
        return await pausing(record)

    process, settings = {
        "pausing": (pausing, {}),
        "retried": (retried, {"retry": RETRY}),
        "failing": (retried, {"on_error": "drop"}),
        "in a thread": (lambda record: record, {}),
        "timed out": (timed_out, {"timeout_s": 0.001, "retry": RETRY}),
    }[kind]
    flow = flow_of(process, **settings)
    asyncio.run(flow.run())
    for numbers in by_session(flow.plugins["out"].ids).values():
        assert numbers == sorted(numbers)
    assert sum(flow.outcomes.values()) == 200
    assert flow.outcomes["delivered"] > 20


def test_sessions_run_in_parallel():
    """While one session waits, another one goes on."""
    gate = anyio.Event()
    slow = "a"
    other = next(s for s in SESSIONS if bucket_of(s, 4) != bucket_of(slow, 4))

    async def process(record):
        if record.session == slow:
            await gate.wait()
        elif record.session == other:
            gate.set()
        return record

    flow = flow_of(process, count=len(SESSIONS))
    asyncio.run(flow.run())
    assert flow.outcomes == {"delivered": len(SESSIONS)}


def test_a_session_meets_one_slot_at_a_time():
    """Two records of one session are never worked on at once."""
    busy: set[str] = set()

    async def process(record):
        assert record.session not in busy
        busy.add(record.session)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        busy.remove(record.session)
        return record

    flow = flow_of(process)
    asyncio.run(flow.run())
    assert flow.outcomes == {"delivered": 200}


def test_lanes_of_several_edges():
    """Sessions keep their lane whichever edge their records come over."""
    plugins = {"in": ListSource(sessions(60)), "in2": ListSource(sessions(60))}
    lanes: dict[str, set[object]] = defaultdict(set)

    async def process(record):
        lanes[record.session].add(asyncio.current_task())
        await asyncio.sleep(0)
        return record

    plugins |= {"s": FunctionStage(process), "out": ListSink()}
    settings = {"s": {"concurrency": 3, "affinity": "session"}}
    flow = Flow(plugins, ["in -> s", "in2 -> s", "s -> out"], settings)
    asyncio.run(flow.run())
    assert flow.outcomes == {"delivered": 120}
    assert all(len(tasks) == 1 for tasks in lanes.values())


def test_a_lane_that_hangs_holds_only_its_sessions():
    """The records of all others go through meanwhile, as long as the edge has room."""
    gate = anyio.Event()
    mates = [session for session in SESSIONS if bucket_of(session, 4) == bucket_of("a", 4)]
    free = 3 * (len(SESSIONS) - len(mates))
    written = []

    async def process(record):
        if record.session == "a":
            await gate.wait()
        return record

    async def write(record):
        written.append(record.session)
        if len(written) == free:
            gate.set()

    flow = flow_of(process, write, count=3 * len(SESSIONS), capacity=64)
    asyncio.run(flow.run())
    assert flow.outcomes == {"delivered": 3 * len(SESSIONS)}
    assert set(written[:free]).isdisjoint(mates)
