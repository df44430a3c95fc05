"""Source `nats`: what is acknowledged and what comes again, on a real server."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing

import pytest
import structlog
from alone import build, complaints, opened
from nats_rig import outcomes, run, running, text, until_async
from peers.nats_client import client_of
from peers.nats_server import NatsServer
from service import until

from dagflow.errors import PluginError
from dagflow.mesh.nats import consumer as consumer_module
from dagflow.record import Outcome, Ticket
from dagflow.sources.nats import Nats
from dagflow.store.database import open_database
from dagflow.store.letter import Selection
from dagflow.store.letters import LETTERS, find_letters
from dagflow.testing.conformance.trial import SampleOwner

pytestmark = pytest.mark.anyio

EMPTY = 'until = "empty"\n'
FAIL = 'type = "fail"\nerror = "refused"\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
async def client(server):
    """A client, and an empty stream `IN`."""
    async with client_of(server) as client:
        await client.make("IN", ("in.>",))
        yield client
        await client.js.delete_stream("IN")


def source(server, **more):
    """A source of `IN`."""
    return build(Nats, **{"servers": [server.url], "stream": "IN", "consumer": "c", "redelivery_delay": "10ms", **more})


async def take(records, count):
    """The next records, each with a ticket."""
    found = [await asyncio.wait_for(anext(records), 10) for _ in range(count)]
    for record in found:
        record.ticket = Ticket(record, SampleOwner())
    return found


def texts(records):
    """What the messages said."""
    return sorted(int(record["input"]) for record in records)


async def acknowledged(client, consumer="c"):
    """Wait until a consumer has nothing to deliver, and waits for nothing."""

    async def nothing():
        return await client.open_messages(consumer, "IN") == (0, 0)

    await until_async(nothing)


async def test_what_came_through_is_acknowledged(server, client):
    """Delivered or filtered; the run ends when the stream is empty, and the next one finds nothing."""
    await client.fill(50, "in.x")
    stage = 'type = "filter"\nkeep = "input | int < 20"'
    report = await run(text(server.url, EMPTY, stage))
    assert (outcomes(report), report["exit_code"]) == ({"delivered": 20, "filtered": 30}, 0)
    assert await client.open_messages("c", "IN") == (0, 0)
    assert outcomes(await run(text(server.url, EMPTY))) == {}


async def test_what_failed_is_acknowledged_once_its_letter_is_kept(server, client, tmp_path):
    """With dead letters it is done; without, it comes again until it came too often, and is never acknowledged."""
    await client.fill(5, "in.x")
    kept = f'[dead_letters]\npath = "{tmp_path}/letters.db"'
    assert outcomes(await run(text(server.url, EMPTY, FAIL, top=kept))) == {"failed": 5}
    assert await client.open_messages("c", "IN") == (0, 0)
    await client.fill(5, "in.x")
    report = await run(text(server.url, EMPTY, FAIL))
    assert set(outcomes(report)) == {"failed"}
    assert await client.open_messages("c", "IN") == (0, 5)


async def test_what_is_shed_comes_again(server, client):
    """It is not acknowledged, so that nothing is lost under load."""
    await client.fill(6, "in.x")
    slow = 'type = "sleep"\ndelay = "5ms"\n'
    file = text(server.url, "max_redeliveries = 1000\n", slow, first=', capacity = 1, when_full = "drop_newest"')
    async with running(file) as engine:
        await until(lambda: outcomes(engine.report()).get("delivered") == 6)
        await acknowledged(client)
        assert outcomes(engine.report())["shed"] > 0


async def test_what_came_too_often_is_not_tried_again(server, client, tmp_path):
    """It fails with a code of its own, its letter has its fields, and it can be replayed."""
    await client.fill(1, "in.x")
    taker = source(server)
    async with opened(taker, name="in") as taken:
        records = taken.records()
        for _ in range(3):
            [record] = await take(records, 1)
            taken.settle(record, Outcome.SHED)
    top = f'[dead_letters]\npath = "{tmp_path}/letters.db"'
    file = text(server.url, EMPTY + "max_redeliveries = 2\n", top=top)
    report = await run(file)
    assert outcomes(report) == {"failed": 1}
    assert report["nodes"]["work"]["taken"] == 0
    with closing(open_database(tmp_path / "letters.db", LETTERS, create=True)) as store:
        [letter] = find_letters(store, Selection(), payloads=True)
    assert (letter.code, letter.fields, letter.readable) == ("redelivered", '{"input": "0"}', True)


async def test_what_a_drain_cuts_off_comes_again_at_once(server, client, tmp_path):
    """It is handed back to the broker, and makes no dead letter."""
    await client.fill(8, "in.x")
    top = f'[dead_letters]\npath = "{tmp_path}/letters.db"'
    forever = 'type = "sleep"\ndelay = "1h"\nconcurrency = 4\n'
    file = text(server.url, 'redelivery_delay = "1h"\n', forever, top=top, more='drain_timeout = "1ms"')
    file = file.replace('redelivery_delay = "10ms"\n', "")
    async with running(file) as engine:
        await until(lambda: engine.report()["in_flight"] == 8)
    assert engine.report()["dead_letters"]["kept"] == 0
    assert outcomes(await run(text(server.url, EMPTY))) == {"delivered": 8}


async def test_whoever_holds_a_message_keeps_it(server, client, monkeypatch):
    """While a record is worked on, the server is told, and nobody else gets it."""
    await client.fill(1, "in.x")
    async with opened(source(server, ack_wait="300ms"), name="in") as holder, opened(source(server)) as other:
        await take(holder.records(), 1)
        waiting = asyncio.ensure_future(anext(other.records()))
        await asyncio.sleep(1.0)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_a_message_of_a_program_that_died_comes_again(server, client):
    """After `ack_wait`."""
    await client.fill(3, "in.x")
    dead = source(server, ack_wait="300ms")
    async with opened(dead, name="in"):
        await take(dead.records(), 3)
        dead._consumer._beating.cancel()
        dead._consumer._held.clear()  # nothing is given back
    async with opened(source(server), name="in") as heir:
        assert texts(await take(heir.records(), 3)) == [0, 1, 2]


async def test_a_message_that_comes_twice_is_one_record(server, client):
    """Neither while it is held, nor when it is done, is it handed out once more."""
    await client.fill(2, "in.x")
    async with opened(source(server, ack_wait="200ms"), name="in") as taken:
        taken._consumer._beating.cancel()
        records = taken.records()
        held, done = await take(records, 2)
        outbox, taken._consumer._outbox.put = [], lambda *one: outbox.append(one)
        taken.settle(done, Outcome.DELIVERED)  # and the acknowledgement is lost
        waiting = asyncio.ensure_future(anext(records))
        await until(lambda: len(outbox) > 2)
        assert not waiting.done()
        del taken._consumer._outbox.put
        taken.settle(held, Outcome.DELIVERED)
        await acknowledged(client)
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_no_more_is_asked_for_than_there_is_room(server, client):
    """What the pipeline cannot take stays with the server, for others."""
    await client.fill(100, "in.x")
    forever = 'type = "sleep"\ndelay = "1h"\n'
    file = text(server.url, 'until = "empty"\n', forever, more='max_in_flight = 10\ndrain_timeout = "1ms"')
    async with running(file) as engine:
        await until(lambda: engine.report()["in_flight"] == 10)
        pending, held = await client.open_messages("c", "IN")
        assert (pending + held, held <= 20) == (100, True)


@pytest.mark.parametrize("batch", [1, 7])
async def test_batch(server, client, batch):
    """So many are held that nobody has asked for."""
    await client.fill(40, "in.x")
    async with opened(source(server, batch=batch), name="in") as taken:
        await take(taken.records(), 1)
        _, held = await client.open_messages("c", "IN")
        assert held <= batch


async def test_subject(server, client):
    """Only messages of that subject are taken."""
    await client.fill(3, "in.a")
    await client.fill(2, "in.b", start=3)
    assert outcomes(await run(text(server.url, EMPTY + 'subject = "in.b"\n'))) == {"delivered": 2}


async def test_max_ack_pending(server, client):
    """It is the consumer's."""
    async with opened(source(server, max_ack_pending=7, ack_wait="9s")):
        config = (await client.js.consumer_info("IN", "c")).config
        assert (config.max_ack_pending, config.ack_wait, config.max_deliver) == (7, 9, -1)


async def test_redelivery_delay(server, client):
    """A message that is given back waits for so long."""
    await client.fill(1, "in.x")
    async with opened(source(server, redelivery_delay="300ms"), name="in") as taken:
        records = taken.records()
        [record] = await take(records, 1)
        began = time.monotonic()
        taken.settle(record, Outcome.EXPIRED)
        await take(records, 1)
        assert time.monotonic() - began >= 0.29


async def test_a_live_source_waits_for_more(server, client):
    """What is published later comes, too."""
    async with opened(source(server), name="in") as taken:
        records = taken.records()
        waiting = asyncio.ensure_future(take(records, 2))
        await client.fill(2, "in.x")
        assert texts(await waiting) == [0, 1]


async def test_records_of_a_message(server, client):
    """The id names the source and the message; a message of dagflow has its own."""
    await client.js.publish("in.x", b"hello", headers={"traceparent": "t"})
    await client.js.publish("in.x", b'{"fields": {"input": 1}}', headers={"Dagflow-Version": "1", "Dagflow-Id": "q"})
    await client.js.publish("in.x", b"{}", headers={"Dagflow-Version": "9"})
    async with opened(source(server), name="in") as taken:
        plain, own, unknown = await take(taken.records(), 3)
    assert (plain.id, dict(plain), plain.meta) == ("in:1", {"input": "hello"}, {"traceparent": "t"})
    assert (own.id, dict(own)) == ("q", {"input": 1})
    assert str(unknown.error) == "`IN`, message 3: it is a record of version 9, and this dagflow knows version 1"


async def test_a_consumer_that_is_deleted_ends_the_run(server, client):
    """With exit code 1, and the reason."""
    async with running(text(server.url)) as engine:
        await client.js.delete_consumer("IN", "c")
        await until(lambda: engine.report()["stopped_by"])
    assert engine.report()["stopped_by"] == "source `in`: the consumer `c` was deleted"


@pytest.mark.parametrize(
    ("made", "options", "reason"),
    [
        (None, {"stream": "NONE"}, "there is no stream `NONE`; create it first"),
        ({"deliver_subject": "x"}, {}, "pushes; expected one that is pulled from"),
        ({"ack_policy": "none"}, {}, "acknowledges otherwise than each message"),
        ({"filter_subject": "in.a"}, {"subject": "in.b"}, "takes `in.a`, not `in.b`"),
    ],
)
async def test_what_does_not_fit_is_refused_at_the_start(server, client, made, options, reason):
    """With what was found."""
    if made is not None:
        await client.js.add_consumer("IN", durable_name="c", **{"ack_policy": "explicit", **made})
    with pytest.raises(PluginError, match=reason):
        async with opened(source(server, **options)):
            pass


async def test_a_consumer_that_forgets_is_warned_of(server, client):
    """Its limit of deliveries comes before this program can keep a dead letter."""
    await client.js.add_consumer("IN", durable_name="c", ack_policy="explicit", max_deliver=3)
    with structlog.testing.capture_logs() as logs:
        async with opened(source(server)):
            pass
    structlog.reset_defaults()
    [warning] = [entry for entry in logs if entry["log_level"] == "warning"]
    assert (warning["consumer"], warning["after_deliveries"]) == ("c", 3)


async def test_close_is_quick(server, client):
    """Also while it waits for a message."""
    async with opened(source(server)) as taken:
        waiting = asyncio.ensure_future(anext(taken.records()))
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.wait([waiting])
        began = time.monotonic()
        await taken.close()
        assert time.monotonic() - began < 1


async def test_the_memory_of_what_is_done_is_bounded(server, client, monkeypatch):
    """It forgets the oldest."""
    monkeypatch.setattr(consumer_module, "_REMEMBERED", 5)
    await client.fill(20, "in.x")
    async with opened(source(server), name="in") as taken:
        for record in await take(taken.records(), 20):
            taken.settle(record, Outcome.DELIVERED)
        assert len(taken._consumer._done) == 5


def test_options_that_make_no_sense():
    """They are refused."""
    assert complaints(Nats, stream="a.b", consumer="c")[0][0] == "stream"
    assert complaints(Nats, stream="a", consumer="c*")[0][0] == "consumer"
    assert {place for place, _ in complaints(Nats)} == {"stream", "consumer"}


def test_the_fields_are_declared():
    """So that `validate` knows them."""
    assert build(Nats, stream="s", consumer="c", fields=["a", "b"]).writes() == {"a", "b"}
    assert build(Nats, stream="s", consumer="c").finite is False
    assert build(Nats, stream="s", consumer="c", until="empty").finite is True
