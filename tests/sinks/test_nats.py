"""Sink `nats`: what a stream gets, and what becomes of a record that it does not take, on a real server."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from alone import build, complaints, opened
from peers.nats_client import client_of
from peers.nats_server import NatsServer

from dagflow.errors import InvalidField, NotPublished, PluginError
from dagflow.mesh.nats import publisher as publisher_module
from dagflow.mesh.wire import from_wire
from dagflow.record import Record, Ticket
from dagflow.sinks.nats import Nats
from dagflow.testing.conformance.trial import SampleOwner

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that takes messages of up to 10,000 bytes."""
    with NatsServer(tmp_path_factory.mktemp("nats"), settings={"max_payload": 10_000}) as server:
        yield server


@pytest.fixture
async def client(server):
    """A client, and an empty stream `OUT`."""
    async with client_of(server) as client:
        await client.make("OUT", ("out.>",), max_msgs=20, discard="new")
        yield client
        await client.js.delete_stream("OUT")


def sink(server, **more):
    """A sink into `OUT`."""
    return build(Nats, **{"servers": [server.url], "subject": "out.x", **more})


def record(id="q1", key=None, **more):
    """An accepted record."""
    made = Record({"input": "hello"}, id, **more)
    made.ticket = Ticket(made, SampleOwner())
    if key is not None:
        made.key = key
    return made


async def test_a_whole_record_is_stored(server, client):
    """Once `write` has returned; another dagflow gets it as it was."""
    async with opened(sink(server), name="out") as out:
        await out.write(record(session="s", priority=2, meta={"a": 1}))
        [message] = await client.messages("OUT")
        came = from_wire(message.headers, message.data, time.monotonic)
        assert (dict(came), came.id, came.session, came.priority) == ({"input": "hello"}, "q1", "s", 2)
        assert (came.meta, message.subject) == ({"a": 1}, "out.x")


@pytest.mark.parametrize(
    ("options", "payload"),
    [
        ({}, b'{"id":"q1","input":"hello"}'),
        ({"fields": ["input"]}, b'{"input":"hello"}'),
        ({"template": "{{ input }}!"}, b"hello!"),
    ],
)
async def test_for_others(server, client, options, payload):
    """An object of JSON, or a text, without headers of dagflow."""
    async with opened(sink(server, format="records", **options)) as out:
        await out.write(record())
        [message] = await client.messages("OUT")
        assert (message.data, [name for name in message.headers if "Dagflow" in name]) == (payload, [])


async def test_a_record_that_comes_twice_is_stored_once(server, client):
    """Its name is that of the sink, the record and its input, so another record is another one."""
    out = sink(server)
    async with opened(out, name="out"):
        for each in (record(key=b"a" * 16), record(key=b"a" * 16), record(key=b"b" * 16), record("q2"), record("q2")):
            await out.write(each)
        assert await client.count("OUT") == 3
        assert out._duplicates.value == 2
    async with opened(sink(server), name="other") as other:
        await other.write(record("q2"))
        assert await client.count("OUT") == 4
    async with opened(sink(server, deduplicate=False), name="out") as plain:
        await plain.write(record("q2"))
        assert await client.count("OUT") == 5


async def test_sessions_keep_their_subject(server, client):
    """Those without one take turns."""
    async with opened(sink(server, subject="out.{n}", partitions=4)) as out:
        for number in range(8):
            await out.write(record(str(number), session=f"s{number % 2}"))
        for number in range(4):
            await out.write(record(f"none {number}"))
        subjects = [message.subject for message in await client.messages("OUT")]
        assert [len(set(subjects[first:8:2])) for first in (0, 1)] == [1, 1]
        assert sorted(subjects[8:]) == ["out.0", "out.1", "out.2", "out.3"]


async def test_a_full_stream_makes_wait(server, client):
    """What waits goes in when there is room."""
    async with opened(sink(server, publish_timeout="100ms")) as out:
        for number in range(20):
            await out.write(record(str(number)))
        waiting = asyncio.ensure_future(out.write(record("last")))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await client.js.purge_stream("OUT")
        await asyncio.wait_for(waiting, 10)
        assert await client.count("OUT") == 1


async def test_a_full_stream_makes_fail(server, client):
    """Where the file says so; it may be tried again."""
    async with opened(sink(server, on_full="fail")) as out:
        for number in range(20):
            await out.write(record(str(number)))
        with pytest.raises(
            NotPublished, match=r"`out.x` did not take the record: the stream is full \(maximum"
        ) as caught:
            await out.write(record("last"))
        assert caught.value.retryable


async def test_what_is_too_large_fails_at_once(server, client):
    """With both sizes."""
    async with opened(sink(server)) as out:
        with pytest.raises(NotPublished, match=r"it has 20\d\d\d bytes, and the server takes 10000"):
            await out.write(Record({"input": "x" * 20_000}, "q"))


async def test_a_subject_that_no_stream_takes(server, client):
    """It is tried for `publish_timeout`, since a server that starts says the same."""
    async with opened(sink(server, subject="nowhere", publish_timeout="200ms")) as out:
        began = time.monotonic()
        with pytest.raises(NotPublished, match="`nowhere` did not take the record: no stream takes this subject"):
            await out.write(record())
        assert 0.2 <= time.monotonic() - began < 5


async def test_another_stream_than_expected(server, client):
    """It is refused by the server; one that is not there, at the start."""
    await client.make("OTHER", ("other",))
    async with opened(sink(server, stream="OTHER")) as out:
        with pytest.raises(NotPublished, match="expected stream does not match"):
            await out.write(record())
    await client.js.delete_stream("OTHER")
    with pytest.raises(PluginError, match="there is no stream `OTHER`"):
        async with opened(sink(server, stream="OTHER")):
            pass


async def test_something_that_is_no_stream_answers(server, client):
    """Its answer is no acknowledgement."""

    async def answer(message):
        await message.respond(b"hello")

    await client.client.subscribe("service", cb=answer)
    await client.client.flush()
    async with opened(sink(server, subject="service")) as out:
        with pytest.raises(NotPublished, match="something answers that is no stream"):
            await out.write(record())


async def test_what_json_cannot_hold(server, client):
    """It is named, and nothing is sent."""
    async with opened(sink(server)) as out:
        with pytest.raises(InvalidField, match="field `bad`"):
            await out.write(Record({"bad": object()}, "q"))
    assert await client.count("OUT") == 0


async def test_silence_is_not_waited_for_for_ever(server, client, monkeypatch):
    """A message is sent again while nothing is heard of it, then the record fails."""
    monkeypatch.setattr(publisher_module, "_RESEND_S", 0.01)
    monkeypatch.setattr(publisher_module, "_SWEEP_S", 0.01)
    heard = []

    async def hear(message):
        heard.append(message.headers["Nats-Msg-Id"])

    await client.client.subscribe("silent", cb=hear)
    await client.client.flush()
    async with opened(sink(server, subject="silent", publish_timeout="100ms")) as out:
        with pytest.raises(NotPublished, match=r"no server acknowledged it within 0.1 s") as caught:
            await out.write(record())
    assert caught.value.retryable
    assert len(heard) > 1
    assert len(set(heard)) == 1


def test_options_that_make_no_sense():
    """They are refused, with the reason."""
    assert "go together" in complaints(Nats, subject="a", partitions=2)[0][1]
    assert "go together" in complaints(Nats, subject="a.{n}")[0][1]
    assert complaints(Nats, subject="a.>")[0][0] == "subject"
    assert "`fields` needs `format" in complaints(Nats, subject="a", fields=["b"])[0][1]
    both = {"fields": ["b"], "template": "{{ b }}", "format": "records"}
    assert "exclude each other" in complaints(Nats, subject="a", **both)[0][1]


def test_what_it_reads():
    """What its messages are made of."""
    assert build(Nats, subject="a").reads() == set()
    assert build(Nats, subject="a", format="records", template="{{ text }}").reads() == {"text"}
    assert json.loads(build(Nats, subject="a").options.model_dump_json())["subject"] == "a"
