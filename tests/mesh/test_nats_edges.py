"""Edges over JetStream, on a real server: what is handed off there is taken over here, once."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from mesh_rig import FIRST, SECOND, check_books, delivered, make, nats_bus, outcomes, part, running, text
from nats_rig import until_async
from peers.nats_client import client_of
from peers.nats_server import NatsServer
from service import until

from dagflow.compile import compile_text
from dagflow.engine.engine import Engine
from dagflow.errors import OpenFailed
from dagflow.mesh.needs import apply, needs_of
from dagflow.record import Record, Ticket
from dagflow.testing.alone import SILENT

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


@pytest.fixture
def server(tmp_path):
    """A server, with a store of its own."""
    with NatsServer(tmp_path) as server:
        yield server


async def test_three_programs_share_one_pipeline(server):
    """Each record is accepted once, handed off and taken over twice, and delivered once."""
    file = text(nats_bus(server.url))
    await make(file)
    engines = [part(file, name) for name in ("in", "work", "out")]
    async with running(*engines):
        await until(lambda: delivered(*engines) == 200)
    first, middle, last = (engine.report() for engine in engines)
    assert (first["accepted"], first["handed_off"], first["exit_code"]) == (200, 200, 0)
    assert (middle["taken_over"], middle["handed_off"]) == (200, 200)
    assert (last["taken_over"], outcomes(last)) == (200, {"delivered": 200})
    check_books(*engines)


async def test_both_ends_in_one_program_use_the_server_too(server):
    """The books count what leaves and what comes."""
    file = text(nats_bus(server.url))
    await make(file)
    engine = Engine(compile_text(file), log=SILENT)
    async with running(engine):
        await until(lambda: delivered(engine) == 200)
    report = engine.report()
    assert (report["accepted"], report["taken_over"], report["handed_off"]) == (200, 400, 400)
    check_books(engine)


@pytest.mark.parametrize(
    ("beside", "ended", "forked"),
    [('type = "null"', {}, 0), ('type = "fail"', {"failed": 200}, 200)],
    ids=["delivered here", "failed here"],
)
async def test_a_record_that_stays_here_too(server, beside, ended, forked):
    """Delivered here and handed off, it is one record, whose outcome is told there; failed here, it is two."""
    kind = "sinks" if "null" in beside else "stages"
    more = "" if kind == "sinks" else '{ from = "near", to = "far" }, '
    file = text(nats_bus(server.url), sink=f'type = "null"\n[{kind}.near]\n{beside}\n[sinks.far]\ntype = "null"\n')
    file = file.replace("edges = [", f'edges = [{{ from = "in", to = "near" }}, {more}')
    file = file if more else file.replace('[sinks.far]\ntype = "null"\n', "")
    await make(file)
    here, there = part(file, "in", "near", *(["far"] if more else [])), part(file, "work", "out")
    async with running(here, there):
        await until(lambda: delivered(there) == 200)
    report = here.report()
    assert outcomes(report) == ended
    assert (report["accepted"], report.get("forked", 0), report["handed_off"]) == (200, forked, 200)
    check_books(here, there)


async def test_a_record_that_is_handed_off_twice_is_two(server):
    """Each of them is taken over, and has an outcome of its own."""
    file = text(nats_bus(server.url)).replace("edges = [", 'edges = [{ from = "in", to = "out", via = "bus" }, ')
    await make(file)
    here, there = part(file, "in"), part(file, "work", "out")
    async with running(here, there):
        await until(lambda: delivered(there) == 400)
    report = here.report()
    assert (report["accepted"], report["forked"], report["handed_off"]) == (200, 200, 400)
    check_books(here, there)


async def test_what_a_record_is_travels_with_it(server):
    """Its id, session, priority, meta and fields, and what is left of its time."""
    file = text(nats_bus(server.url))
    await make(file)
    outlet = part(file, "in").wiring.nodes["in -> work (out)"].plugin
    inlet = part(file, "work").wiring.sources["in -> work (in)"].plugin
    async with opened(outlet) as clock, opened(inlet):
        record = Record({"input": "é", "n": 1}, "an id", "s 1", 3, clock() + 30, {"tier": "gold"})
        record.ticket = Ticket(record, None)
        await outlet.write(record)
        found = await anext(inlet.records())
        assert (found.id, found.session, found.priority, dict(found)) == ("an id", "s 1", 3, {"input": "é", "n": 1})
        assert found.meta == {"tier": "gold"}
        assert found.deadline == pytest.approx(record.deadline, abs=2)
        assert len(found.key) == 16


async def test_a_full_stream_holds_back_the_sender(server):
    """`capacity` is all that the stream takes, until somebody takes it over."""
    file = text(nats_bus(server.url), first=", capacity = 20")
    await make(file)
    first, rest = part(file, "in"), part(file, "work", "out")
    async with running(first), client_of(server) as client:
        await until_async(lambda: has(client, FIRST, 20))
        await until(lambda: first.report()["edges"]["in -> work (out)"]["buffered"] == 20)
        assert first.report()["outcomes"]["shed"] == 0
        async with running(rest):
            await until(lambda: delivered(rest) == 200)
    check_books(first, rest)


@pytest.mark.parametrize(
    "settings", ['when_full = "drop_newest"', 'block_timeout = "50ms"'], ids=["drop_newest", "block_timeout"]
)
async def test_what_does_not_fit_is_shed_at_the_sender(server, settings):
    """It is counted there, and what was handed off comes through."""
    file = text(nats_bus(server.url), first=f", capacity = 20, {settings}")
    await make(file)
    first, rest = part(file, "in"), part(file, "work", "out")
    async with running(first) as (run,):
        await run
    report = first.report()
    assert outcomes(report) == {"shed": 180}
    assert report["handed_off"] == 20
    async with running(rest):
        await until(lambda: delivered(rest) == 20)
    check_books(first, rest)


async def test_sessions_keep_their_order_over_programs(server):
    """Two programs take records of seven sessions over; each session comes in its order, wherever it is."""
    bus, lanes = nats_bus(server.url, "partitions = 4"), 'affinity = "session"'
    file = text(bus, source="sessions = 7", stage=lanes, sink='type = "null"\naffinity = "session"\nconcurrency = 2')
    await make(file)
    engines = [part(file, "in"), part(file, "work"), part(file, "work"), part(file, "out")]
    seen: dict[str, list[int]] = {}
    watch(engines[3], lambda record: seen.setdefault(record.session, []).append(record["n"]))
    async with running(*engines):
        await until(lambda: delivered(*engines) == 200)
    assert len(seen) == 7
    assert all(numbers == sorted(numbers) for numbers in seen.values())
    assert all(engine.report()["taken_over"] for engine in engines[1:3])
    check_books(*engines)


async def test_what_a_drain_cuts_off_goes_on_elsewhere(server):
    """It is given back, with no outcome here, and comes at once to who takes it over next."""
    slow = 'delay = "30s"\n'
    file = text(nats_bus(server.url), source="").replace('delay = "1ms"', slow.strip()).replace('"2s"', '"50ms"')
    await make(file)
    first, stuck = part(file, "in"), part(file, "work")
    async with running(first, stuck):
        await until(lambda: stuck.report()["nodes"]["work"]["busy"] == 4)
    report = stuck.report()
    assert report["given_back"] == report["taken_over"] >= 4
    assert not outcomes(report)
    rest = part(file.replace("30s", "1ms"), "work", "out")
    async with running(rest):
        await until(lambda: delivered(rest) == 200)
    check_books(first, stuck, rest)


async def test_what_kills_programs_is_not_tried_for_ever(server):
    """After `max_redeliveries` it fails as `redelivered`, and is no longer in the stream."""
    file = text(nats_bus(server.url, "max_redeliveries = 2"))
    await make(file)
    async with client_of(server) as client:
        async with running(part(file, "in")) as (run,):
            await run
        subscription = await client.js.pull_subscribe_bind("p0", FIRST)
        deliveries: dict[int, int] = {}
        while len(deliveries) < 200 or min(deliveries.values()) < 3:  # each time somebody takes it and dies of it
            for message in await subscription.fetch(200):
                about = message.metadata
                deliveries[about.sequence.stream] = about.num_delivered
                await message.nak()
        await subscription.unsubscribe()
        rest = part(file, "work", "out")
        async with running(rest):
            await until(lambda: sum(rest.report()["outcomes"].values()) == 200)
        assert outcomes(rest.report()) == {"failed": 200}
        assert [error["code"] for error in rest.report()["errors"]] == ["redelivered"]
        await until_async(lambda: has(client, FIRST, 0))


async def test_what_failed_is_replayed_over_the_edge(server, tmp_path):
    """From where its letter was kept it is handed off again; meanwhile nothing else is taken over."""
    letters = f'[dead_letters]\npath = "{tmp_path / "letters.db"}"'
    file = text(nats_bus(server.url), source="", top=letters).replace("count = 200", "count = 5")
    broken = file.replace('type = "sleep"\ndelay = "1ms"', 'type = "fail"\nerror = "refused"')
    await make(file)
    engines = [part(broken, "in"), part(broken, "work")]
    async with running(*engines):
        await until(lambda: engines[1].report()["outcomes"]["failed"] == 5)
    async with running(part(file, "in")) as (run,):
        await run
    path = tmp_path / "p.toml"
    path.write_text(file)
    command = [sys.executable, "-m", "dagflow", "dlq", "replay", str(path), "-q"]
    replaying = await asyncio.create_subprocess_exec(*command, cwd=Path(__file__).parents[2])
    assert await replaying.wait() == 0
    async with client_of(server) as client:
        assert (await client.count(FIRST), await client.count(SECOND)) == (5, 5)


async def test_what_is_no_record_fails_and_says_why(server):
    """A version that nobody knows is named; nothing of it blocks the others."""
    file = text(nats_bus(server.url))
    await make(file)
    rest = part(file, "work", "out")
    async with client_of(server) as client, running(rest):
        await client.js.publish(f"dagflow.{FIRST}.0", b"{}", headers={"Dagflow-Version": "7"})
        await until(lambda: rest.report()["outcomes"]["failed"] == 1)
        await client.js.publish(f"dagflow.{FIRST}.0", b"hello")
        await until(lambda: rest.report()["outcomes"]["failed"] == 2)
        await until_async(lambda: has(client, FIRST, 0))
    (error,) = rest.report()["errors"]
    assert error["code"] == "unreadable"
    assert "version 7" in error["message"]


async def test_a_record_that_comes_again_is_stored_once(server):
    """A record that was taken over twice, since its program died, has the same name at the next stream."""
    file = text(nats_bus(server.url))
    await make(file)
    middle = part(file, "work")
    outlet = middle.wiring.nodes["work -> out (out)"].plugin
    async with opened(outlet), client_of(server) as client:
        for repeats, stored in ((True, 1), (True, 1), (False, 2), (False, 3)):
            record = Record({"input": "x"}, "same")
            record.key = b"k" * 16
            record.ticket = Ticket(record, None)
            record.ticket.repeats = repeats
            await outlet.write(record)
            assert await client.count(SECOND) == stored
    assert outlet.context.metrics.counters["duplicates"].value == 1


async def test_a_missing_stream_names_the_command(server):
    """A run creates none, and says what does."""
    file = text(nats_bus(server.url))
    for node, end in (("in", "in -> work (out)"), ("out", "work -> out (in)")):
        with pytest.raises(OpenFailed, match=f"{end.split()[0]}.*dagflow mesh apply"):
            await part(file, node).run()


async def test_what_the_table_says_is_how_it_is_created(server):
    """Each option of what is created can be read from the server."""
    more = 'partitions = 3\nduplicate_window = "5s"\nack_wait = "7s"\nmax_ack_pending = 9'
    file = text(nats_bus(server.url, more), second=", capacity = 33", stage='affinity = "session"')
    await make(file)
    async with client_of(server) as client:
        stream = (await client.js.stream_info(SECOND)).config
        assert (stream.max_msgs, stream.duplicate_window, stream.discard, stream.retention) == (
            33,
            5,
            "new",
            "workqueue",
        )
        assert (await client.js.stream_info(FIRST)).state.consumer_count == 3
        consumer = (await client.js.consumer_info(SECOND, "p0")).config
        assert (consumer.ack_wait, consumer.max_ack_pending) == (7, 9)
    replicated = next(iter(needs_of(compile_text(text(nats_bus(server.url, "replicas = 3"))))))
    assert replicated.settings["num_replicas"] == 3


async def test_what_somebody_else_made_is_left_alone(server):
    """It is told how it differs; what dagflow made is changed."""
    file = text(nats_bus(server.url))
    async with client_of(server) as client:
        await client.make(FIRST, (f"dagflow.{FIRST}.*",), max_msgs=7)
        findings = {
            one.need.name: one for one in await apply(needs_of(compile_text(file))) if one.need.kind == "stream"
        }
        assert (findings[FIRST].state, findings[SECOND].state) == ("differs", "created")
        assert findings[FIRST].differences["max_msgs"] == (7, 512)
        assert not findings[FIRST].is_well
        changed = compile_text(file.replace('out", via = "bus"', 'out", via = "bus", capacity = 11'))
        findings = await applied(changed)
        assert (findings[FIRST].state, findings[SECOND].state) == ("differs", "changed")
        assert (await client.js.stream_info(FIRST)).config.max_msgs == 7
        assert (await client.js.stream_info(SECOND)).config.max_msgs == 11


async def applied(plan):
    """Create what a plan needs; give what became of its streams."""
    return {one.need.name: one for one in await apply(needs_of(plan)) if one.need.kind == "stream"}


async def has(client, stream, count):
    """Whether a stream has so many messages."""
    return await client.count(stream) == count


def watch(engine, see):
    """Show each record to `see` before its sink gets it."""
    sink = engine.wiring.nodes["out"].plugin
    write = sink.write

    async def watched(record):
        see(record)
        await asyncio.sleep(0)
        return await write(record)

    sink.write = watched


class opened:
    """A plugin of an engine that does not run, opened for the block; gives its clock."""

    def __init__(self, plugin):
        self.plugin = plugin

    async def __aenter__(self):
        from dagflow.context import Context
        from dagflow.telemetry.instruments import Metrics

        loop = asyncio.get_running_loop()
        await self.plugin.open(Context("x", SILENT, loop.time, Metrics(), pipeline="p"))
        return loop.time

    async def __aexit__(self, *_):
        await self.plugin.close()
