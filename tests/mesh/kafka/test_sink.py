"""Sink `kafka`, on each broker: what it sends, when it is done, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict

import pytest
from peers.kafka_brokers import MockKafka
from peers.kafka_client import Desk, Pipe
from pydantic import ValidationError
from rigs import Flow, ListSource

from dagflow.completion import Completion
from dagflow.errors import NotPublished, PluginError
from dagflow.record import Record
from dagflow.sinks.kafka import Kafka
from dagflow.testing.alone import build_context

pytestmark = pytest.mark.anyio

PRODUCE = 0
REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS_AFTER_APPEND, TOPIC_AUTHORIZATION_FAILED, TOO_LARGE = 7, 20, 29, 10


def sessions(count):
    """Make records of three sessions."""
    return [Record({"input": f"text {n}"}, f"id-{n}", session=f"s{n % 3}") for n in range(count)]


async def sent(desk, given, **options):
    """Send records through a pipeline; give the source and the report."""
    flow = Flow({"in": ListSource(given), "out": desk.sink(**options)}, ["in -> out"], {"out": {"concurrency": 32}})
    async with asyncio.timeout(30):
        await flow.run()
    return flow


async def test_records_go_to_the_partition_of_their_session(tmp_path, desk):
    """In their order; a source of dagflow gives them as they were."""
    flow = await sent(desk, sessions(60))
    assert flow.outcomes == {"delivered": 60}
    partitions, order = defaultdict(set), defaultdict(list)
    for message in await desk.read(60):
        partitions[message.key].add(message.partition)
        order[message.key].append(json.loads(message.value)["fields"]["input"])
    assert {key: len(found) for key, found in partitions.items()} == {b"s0": 1, b"s1": 1, b"s2": 1}
    assert order[b"s1"] == [f"text {n}" for n in range(60) if n % 3 == 1]
    pipe = Pipe(tmp_path, desk.source())
    assert await pipe.run() == {"delivered": 60}
    assert sorted(pipe.sink.written) == sorted((r.id, dict(r)) for r in sessions(60))


@pytest.mark.parametrize(("key", "keys"), [("session", {b"s0", None}), ("id", {b"a", b"b"}), ("none", {None})])
async def test_what_is_the_key(desk, key, keys):
    """The session, the id, or nothing."""
    await sent(desk, [Record({}, "a", session="s0"), Record({}, "b")], key=key)
    assert {message.key for message in await desk.read(2)} == keys


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({}, b'{"id":"a","n":1,"completion":{"text":"yes","finish_reason":"stop"}}'),
        ({"fields": ["n", "session"]}, b'{"n":1,"session":"s"}'),
        ({"template": "{{ n }} for {{ session }}"}, b"1 for s"),
    ],
)
async def test_messages_for_other_programs(desk, options, value):
    """Objects or texts, without headers."""
    record = Record({"n": 1, "completion": Completion("yes", "stop")}, "a", session="s")
    await sent(desk, [record], format="records", **options)
    [message] = await desk.read(1)
    found = message.value
    if not options:
        assert json.loads(found)["completion"]["text"] == "yes"
        assert json.loads(found)["n"] == 1
    else:
        assert found == value
    assert (message.key, message.headers) == (b"s", ())


async def test_an_answer_that_is_lost_makes_no_duplicate(mock_desk):
    """The broker has it and says that it has not: an idempotent sink's message is there once."""
    mock_desk.broker.fail(PRODUCE, NOT_ENOUGH_REPLICAS_AFTER_APPEND, REQUEST_TIMED_OUT)
    flow = await sent(mock_desk, sessions(9))
    assert flow.outcomes == {"delivered": 9}
    found = [json.loads(message.value)["fields"]["input"] for message in await mock_desk.read(9)]
    assert sorted(found) == sorted(record["input"] for record in sessions(9))
    await Desk.send(mock_desk, b"last", partition=0)
    assert len(await mock_desk.read(10)) == 10


async def test_brokers_without_idempotence_are_told(tansu_desk):
    """The error names the option."""
    with pytest.raises(PluginError, match=r"take no idempotent producer .*set `idempotent = false`"):
        await sent(tansu_desk, sessions(1), idempotent=True)


@pytest.mark.parametrize(
    ("error", "reason", "retryable"),
    [(TOPIC_AUTHORIZATION_FAILED, "do not let this user use the topic", False), (TOO_LARGE, "larger than", False)],
)
async def test_what_a_broker_refuses_fails(mock_desk, error, reason, retryable):
    """With the reason; the next record may come through."""
    sink = mock_desk.sink(idempotent=False)
    await sink.open(build_context("out"))
    mock_desk.broker.fail(PRODUCE, error)
    with pytest.raises(NotPublished, match=reason) as caught:
        await sink.write(Record({"n": 1}, "a"))
    assert caught.value.retryable is retryable
    await sink.write(Record({"n": 1}, "a"))
    await sink.close()


async def test_what_is_too_large_fails_at_once(desk):
    """By the option `max_request`."""
    flow = await sent(desk, [Record({"n": "x" * 2000}, "a"), Record({"n": 1}, "b")], max_request="1KiB")
    assert flow.outcomes == {"failed": 1, "delivered": 1}
    assert "larger than the broker or `max_request` allows" in flow.report["errors"][0]["message"]


async def test_a_broker_that_is_away_is_waited_for():
    """Until `request_timeout`; then the record fails, and may be tried again."""
    with MockKafka() as broker:
        desk = Desk(broker)
        sink = desk.sink(request_timeout="500ms")
        await sink.open(build_context("out"))
        broker.kill()
        with pytest.raises(NotPublished) as caught:
            await sink.write(Record({"n": 1}, "a"))
        assert caught.value.retryable
        broker.start()
        await sink.write(Record({"n": 2}, "b"))
        await sink.close()
        assert b"2" in (await desk.read(1))[-1].value


@pytest.mark.parametrize("linger", ["0s", "300ms"])
async def test_a_batch_may_wait_for_more(mock_desk, linger):
    """With `linger` a single record takes that long."""
    sink = mock_desk.sink(linger=linger)
    await sink.open(build_context("out"))
    await sink.write(Record({"n": 1}, "a"))
    began = asyncio.get_running_loop().time()
    await sink.write(Record({"n": 1}, "a"))
    took = asyncio.get_running_loop().time() - began
    assert (took >= 0.29) == (linger == "300ms")
    await sink.close()


@pytest.mark.parametrize(("max_batch", "sent_early"), [("1KiB", True), ("64KiB", False)])
async def test_a_batch_that_is_full_waits_no_longer(mock_desk, max_batch, sent_early):
    """Of ten records in small batches only the last ones wait; in one large batch all do."""
    desk = Desk(mock_desk.broker, 1)
    sink = desk.sink(linger="2s", max_batch=max_batch)
    await sink.open(build_context("out"))
    given = [Record({"n": "x" * 300}, f"{n}") for n in range(10)]
    writing = [asyncio.ensure_future(sink.write(record)) for record in given]
    done, _ = await asyncio.wait(writing, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
    assert bool(done) is sent_early
    await asyncio.gather(*writing)
    await sink.close()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"fields": ["n"]}, "fields_of_whole"),
        ({"format": "records", "fields": ["n"], "template": "x"}, "forms_of_output"),
        ({"servers": ["nowhere"]}, "bad_address"),
        ({"username": "ann"}, "half_a_login"),
        ({"ca_file": "ca.pem"}, "tls_off"),
        ({"tls": True, "key_file": "key.pem"}, "half_a_pair"),
        ({"servers": ["k:9092"], "sasl": "plain", "username": "a", "password": "b"}, "password_in_clear"),
    ],
)
def test_options_that_do_not_fit(options, code):
    """Each is refused with its reason."""
    with pytest.raises(ValidationError) as caught:
        Kafka.Options(**{"servers": ["127.0.0.1:9092"], "topic": "t", **options})
    assert caught.value.errors()[0]["type"] == code


def test_scram_may_go_without_tls():
    """It never sends the password itself."""
    Kafka.Options(servers=["k:9092"], topic="t", sasl="scram-sha-512", username="a", password="b")
