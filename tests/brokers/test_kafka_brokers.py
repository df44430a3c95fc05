"""The Kafka brokers: what each says that it is able to do, seen with a client."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from peers.cut import Cut
from peers.kafka_brokers import MockKafka, Tansu

# Sockets of connections that were cut are left to the garbage collector.
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]

PRODUCE = 0
NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20


async def produce(broker, count, **options):
    """Send numbers to the topic `t`, each acknowledged."""
    producer = AIOKafkaProducer(bootstrap_servers=broker.address, **options)
    try:  # its own block leaves it open where its start fails
        await producer.start()
        for number in range(count):
            await producer.send_and_wait("t", b"%d" % number, key=b"k%d" % (number % 4))
    finally:
        await producer.stop()


async def consume(broker, count):
    """Read the topic `t` from its begin until there are enough; give the values."""
    consumer = AIOKafkaConsumer("t", bootstrap_servers=broker.address, auto_offset_reset="earliest")
    async with consumer, asyncio.timeout(20):
        values = []
        while len(values) < count:
            for messages in (await consumer.getmany(timeout_ms=200)).values():
                values += [message.value for message in messages]
        return values


@pytest.mark.parametrize("broker_of", [Tansu, lambda _: MockKafka(brokers=2)], ids=["tansu", "mock"])
async def test_what_is_sent_comes(tmp_path, broker_of):
    """Each broker creates a topic, takes messages and gives them."""
    with broker_of(tmp_path) as broker:
        broker.create_topic("t", 2)
        await produce(broker, 10)
        assert sorted(await consume(broker, 10)) == sorted(b"%d" % number for number in range(10))


async def test_what_is_stored_outlives_a_kill(tmp_path):
    """What Tansu acknowledged is there after signal 9 and a new start, where its store is outside."""
    with Tansu(tmp_path, persists=True) as broker:
        assert broker.abilities.persists
        broker.create_topic("t", 1)
        await produce(broker, 5)
        broker.restart()
        assert await consume(broker, 5) == [b"%d" % number for number in range(5)]


async def test_an_answer_that_is_lost(tmp_path):
    """An idempotent producer asks again after an error that hides a success; the mock has the message once."""
    with MockKafka() as broker:
        assert broker.abilities.idempotent
        broker.create_topic("t", 1)
        broker.fail(PRODUCE, NOT_ENOUGH_REPLICAS_AFTER_APPEND)
        await produce(broker, 3, enable_idempotence=True)
        assert await consume(broker, 3) == [b"0", b"1", b"2"]


async def test_a_mock_that_is_away_comes_back():
    """A producer waits for brokers that cannot be reached, and what they held is still there."""
    with MockKafka() as broker:
        broker.create_topic("t", 1)
        await produce(broker, 2)
        broker.kill()
        with pytest.raises(KafkaError):
            await produce(broker, 1, request_timeout_ms=1000)
        broker.start()
        assert await consume(broker, 2) == [b"0", b"1"]


async def test_groups_and_admin(tmp_path):
    """Two consumers of a group share the partitions of a topic that was made over the protocol."""
    with Tansu(tmp_path) as broker:
        assert broker.abilities.groups
        assert broker.abilities.admin
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
        await admin.start()
        await admin.create_topics([NewTopic("t", 4, 1)])
        await admin.close()
        options = {
            "bootstrap_servers": broker.address,
            "group_id": "g",
            "heartbeat_interval_ms": 100,
            "session_timeout_ms": 1000,
        }
        async with AIOKafkaConsumer("t", **options) as one, AIOKafkaConsumer("t", **options) as two:
            async with asyncio.timeout(20):
                while len(one.assignment()) != 2 or len(two.assignment()) != 2:
                    await asyncio.gather(*(each.getmany(timeout_ms=50) for each in (one, two)))
            assert not one.assignment() & two.assignment()


async def test_tansu_behind_a_cut(tmp_path):
    """Clients that go by the advertised address meet the cut."""
    with Cut() as cut, Tansu(tmp_path, advertised=cut.port) as broker:
        cut.target = broker.port
        broker.create_topic("t", 1)
        cut.refuse()
        with pytest.raises(KafkaError):
            await produce(broker, 1, request_timeout_ms=1000)
        cut.heal()
        await produce(broker, 1)
        assert await consume(broker, 1) == [b"0"]
