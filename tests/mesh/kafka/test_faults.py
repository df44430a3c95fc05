"""Source and sink `kafka` when things go wrong: nothing that was committed is missing, each record has one outcome.

Groups of several and killed consumers need Tansu, which knows them; what outlives the broker needs its store outside.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter

import pytest
from peers.cut import Cut
from peers.kafka_brokers import MockKafka, Tansu
from peers.kafka_client import Desk, Pipe
from peers.processes import Child
from rigs import Flow, ListSource
from service import until

from dagflow.engine.lifecycle import CLOSE_TIMEOUT_S
from dagflow.errors import WorkerError
from dagflow.record import Record

pytestmark = pytest.mark.anyio


def texts(count):
    """Give as many messages of plain text."""
    return [b"%d" % number for number in range(count)]


def place_of(record_id):
    """Split an id into partition and offset."""
    _, partition, offset = record_id.rsplit(":", 2)
    return int(partition), int(offset)


async def nap(record):
    """Take a moment."""
    await asyncio.sleep(0.01)
    return record


async def test_a_rebalance_under_load_loses_nothing(tmp_path, tansu_desk):
    """Members come and go while records are in flight; all are delivered, and at the end all is committed."""
    desk, count = tansu_desk, 1200
    await desk.send(*texts(count))
    pipes = [Pipe(tmp_path, desk.source(until=None, max_ahead=20), nap, concurrency=4) for _ in range(3)]

    def seen():
        return {id for pipe in pipes for id in pipe.sink.ids}

    async with pipes[0].running():
        await until(lambda: len(seen()) > 50)
        async with pipes[1].running():
            await until(lambda: len(pipes[1].sink.ids) > 20)
            async with pipes[2].running():
                await until(lambda: len(pipes[2].sink.ids) > 5 or len(seen()) == count)
        await until(lambda: len(seen()) == count)
    assert await desk.committed() == [300] * 4
    for pipe in pipes:
        report = pipe.flow.report
        assert report["accepted"] == sum(report["outcomes"].values())
        assert set(pipe.flow.outcomes) <= {"delivered", "cancelled"}


async def test_slow_records_cost_no_partition(tmp_path, tansu_desk):
    """One that takes longer than the session, with nothing else asked for, comes once: the heartbeats go on."""
    desk = tansu_desk
    await desk.send(*texts(3), partition=0)

    async def sleep(record):
        await asyncio.sleep(2.5 if record["input"] == "0" else 0)
        return record

    pipe = Pipe(tmp_path, desk.source(until=None), sleep, plan={"max_in_flight": 1})
    async with pipe.running():
        generation = pipe.source._consumer._generation
        await until(lambda: len(pipe.sink.ids) == 3)
        assert pipe.source._consumer._generation == generation
    assert pipe.sink.ids == [f"{desk.topic}:0:{offset}" for offset in range(3)]
    assert (await desk.committed())[0] == 3


async def test_a_partition_is_kept_for_what_is_in_flight(tmp_path, tansu_desk):
    """For `handover`: what ends within it is committed, and comes to nobody else."""
    desk = tansu_desk
    await desk.send(*texts(4))
    release = asyncio.Event()

    async def wait(record):
        await release.wait()
        return record

    options = {"until": None, "session_timeout": "6s", "request_timeout": "8s", "handover": "5s"}
    first = Pipe(tmp_path, desk.source(**options), wait, concurrency=4)
    second = Pipe(tmp_path, desk.source(**options))
    async with first.running():
        await until(lambda: len(first.source._places) == 4)
        joining = asyncio.ensure_future(second.flow.engine().run())
        await until(lambda: not first.source._consumer._offsets)  # they are being handed over
        release.set()
        await until(lambda: len(first.sink.ids) == 4)
        await desk.wait_committed(1)
        joining.cancel()
        await asyncio.wait([joining])
    assert second.sink.ids == []


async def test_what_ends_after_a_partition_has_gone_commits_nothing(tmp_path, tansu_desk):
    """With no `handover` the other member gets it as well; then it is that member's to commit."""
    desk = tansu_desk
    await desk.send(*texts(4))
    release = asyncio.Event()

    async def wait(record):
        await release.wait()
        return record

    options = {"until": None, "handover": "0s"}
    first = Pipe(tmp_path, desk.source(**options), wait, concurrency=8)
    second = Pipe(tmp_path, desk.source(**options), wait, concurrency=8)
    async with first.running():
        await until(lambda: len(first.source._places) == 4)
        async with second.running():
            await until(lambda: len(second.source._places) == 2)
            assert await desk.committed() == [None] * 4
            release.set()
            await until(lambda: len(second.sink.ids) == 2)
            await until(lambda: len(first.sink.ids) == 6)
    assert await desk.committed() == [1, 1, 1, 1]
    assert Counter([*first.sink.ids, *second.sink.ids]) == Counter({f"{desk.topic}:{n}:0": 2 for n in range(4)})


PROGRAM = """
import sys
from pathlib import Path
from dagflow.cli import main
sys.argv = ["dagflow", "run", sys.argv[1]]
main()
"""

PIPELINE = """
[pipeline]
edges = [{{ from = "in", to = "nap" }}, {{ from = "nap", to = "out" }}]
[sources.in]
type = "kafka"
servers = ["{address}"]
topics = ["{topic}"]
group = "{group}"
session_timeout = "1s"
handover = "100ms"
commit_interval = "20ms"
[stages.nap]
type = "sleep"
delay = "5ms"
[sinks.out]
type = "jsonl"
path = "out-{number}.jsonl"
[dead_letters]
path = "letters-{number}.db"
"""


async def test_a_killed_member_is_replaced(tmp_path, tansu_desk):
    """What it had and had not committed goes to others; nothing is missing from the outputs."""
    desk = tansu_desk
    members = []
    for number in range(2):
        about = {"address": desk.broker.address, "topic": desk.topic, "group": desk.group, "number": number}
        path = tmp_path / f"pipeline-{number}.toml"
        path.write_text(PIPELINE.format(**about))
        command = [sys.executable, "-c", PROGRAM, path]
        members.append(Child(command, tmp_path / f"{number}.log", lambda: True))

    def lines(number):
        path = tmp_path / f"out-{number}.jsonl"
        return path.read_text().splitlines() if path.exists() else []

    def done():
        return {line.split('"')[3] for number in range(2) for line in lines(number) if line.endswith("}")}

    count = 4
    await desk.send(*texts(count))
    members[0].start()
    try:
        await until(lambda: len(lines(0)) == count)
        members[1].start()
        while not lines(1):  # until it is a member too
            await desk.send(*texts(4))
            count += 4
            await until(lambda upto=count: len(done()) == upto)
        before = len(lines(0))
        await desk.send(*texts(200))
        count += 200
        await until(lambda: len(lines(0)) > before + 20)
        members[0].kill()
        await until(lambda: len(done()) == count, 30)
        await desk.wait_committed(count // 4)
    finally:
        members[0].kill()
        members[1].stop()


async def test_a_broker_that_is_killed_and_comes_back(tmp_path):
    """What was acknowledged is there; source and sink go on, and all records come out."""
    with Tansu(tmp_path, persists=True) as broker:
        before, behind = Desk(broker, 2), Desk(broker, 1)
        await before.send(*texts(40))
        source = before.source(until=None, request_timeout="2s", max_ahead=4)
        pipe = Pipe(tmp_path, source, nap, behind.sink(request_timeout="2s"), concurrency=2)
        async with pipe.running() as engine:
            await until(lambda: engine.report()["outcomes"]["delivered"] > 5)
            broker.restart()
            await until(lambda: engine.report()["outcomes"]["delivered"] + engine.report()["outcomes"]["failed"] >= 40)
        messages = await behind.read(pipe.flow.report["outcomes"]["delivered"])
        kept = {2 * offset + partition for partition, offset in (place_of(record) for record, *_ in pipe.letters)}
        assert kept | {int(json.loads(message.value)["fields"]["input"]) for message in messages} == set(range(40))


async def test_a_network_that_is_cut_and_heals(tmp_path):
    """The source goes on where it was; duplicates may come, nothing is missing."""
    with Cut() as cut, Tansu(tmp_path, advertised=cut.port) as broker:
        cut.target = broker.port
        desk, count = Desk(broker, 2), 200
        await desk.send(*texts(count))
        pipe = Pipe(tmp_path, desk.source(until=None, request_timeout="2s", max_ahead=20), nap)
        async with pipe.running():
            await until(lambda: len(pipe.sink.ids) > 20)
            cut.refuse()
            await until(lambda: not cut.connections)
            cut.heal()
            await until(lambda: len(set(pipe.sink.ids)) == count, 30)
            await desk.wait_committed(count // 2)
        report = pipe.flow.report
        assert report["accepted"] == sum(report["outcomes"].values())


async def test_a_poisoned_record_among_others(tmp_path, desk):
    """It is kept once, and the others pass it."""
    await desk.send(*texts(50), partition=0)

    async def fail(record):
        if record["input"] == "7":
            raise WorkerError("refused", "poison")
        return record

    pipe = Pipe(tmp_path, desk.source(), fail)
    assert await pipe.run() == {"delivered": 49, "failed": 1}
    assert pipe.letters == [(f"{desk.topic}:0:7", "failed", "worker-refused")]
    assert (await desk.committed())[0] == 50
    assert await Pipe(tmp_path, desk.source()).run() == {}


async def test_commits_that_fail_are_made_again(tmp_path, mock_desk):
    """A group whose coordinator has no answer loses no offset."""
    commit, unavailable = 8, 15
    await mock_desk.send(*texts(8))
    mock_desk.broker.fail(commit, unavailable, unavailable)
    assert await Pipe(tmp_path, mock_desk.source()).run() == {"delivered": 8}
    assert await mock_desk.committed() == [2, 2, 2, 2]


async def test_a_sink_repeats_what_a_broker_would_not_take_yet(mock_desk):
    """Errors that pass cost no record, and with idempotence no duplicate."""
    produce, not_leader, not_enough = 0, 6, 19
    mock_desk.broker.fail(produce, not_leader, not_enough, not_leader)
    given = [Record({"n": n}, f"{n}", session=f"{n % 4}") for n in range(40)]
    flow = Flow({"in": ListSource(given), "out": mock_desk.sink()}, ["in -> out"], {"out": {"concurrency": 8}})
    await flow.run()
    assert flow.outcomes == {"delivered": 40}
    ids = [dict(message.headers)["Dagflow-Id"] for message in await mock_desk.read(40)]
    assert Counter(ids) == Counter(b"%d" % n for n in range(40))


async def test_a_broker_that_is_away_does_not_hold_up_the_end(tmp_path):
    """Source and sink give up after a few seconds, with offsets left to commit; no connection is left."""
    with MockKafka() as broker:
        desk = Desk(broker)
        await desk.send(*texts(3), partition=0)
        pipe = Pipe(tmp_path, desk.source(until=None, commit_interval="1h"), sink=Desk(broker).sink())
        async with pipe.running() as engine:
            await until(lambda: engine.report()["outcomes"]["delivered"] == 3)
            broker.kill()
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await asyncio.gather(pipe.source.close(), pipe.sink.close())
        broker.start()
        assert await desk.committed() == [None]
        assert await Pipe(tmp_path, desk.source()).run() == {"delivered": 3}
