"""Source and sink `kafka` keep every rule of their kinds; tried on the mock, where a group meets at once."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import Consumer, TopicPartition
from peers.kafka_client import QUICK, Desk

from dagflow.sinks.kafka import Kafka as KafkaSink
from dagflow.sources.kafka import Kafka as KafkaSource
from dagflow.testing import RULES, Sample, check_plugin

MESSAGES = (b'{"id": "a", "input": "one", "priority": 1, "deadline": "30s"}', b"two", b"\xff", b"three", b"four")


def broken(sample, kind):
    """Try all rules, and give what is broken."""
    found = list(check_plugin(sample))
    assert len(found) == len(RULES[kind])
    return [f"{f.rule.id}: {f.breach}" for f in found if f.breach]


@pytest.mark.parametrize("until", ["end", None])
def test_the_source_keeps_every_rule(mock, until):
    """Whether it ends or not."""
    desk = Desk(mock, 2)
    asyncio.run(desk.send(*MESSAGES * 200, key=b"anna"))  # some trials commit what they have read
    quick = {**QUICK, "session_timeout": "500ms", "handover": "0s"}
    options = {**desk.options, **quick, "topics": [desk.topic], "group": desk.group, "until": until}
    assert broken(Sample(KafkaSource, options=options, patience_s=3.0), "source") == []


@pytest.mark.parametrize("format", ["dagflow", "records"])
def test_the_sink_keeps_every_rule(mock, format):
    """Both with whole records and with objects; a record has arrived when the broker counts it."""
    desk, begins = Desk(mock, 1), [0]
    reader = Consumer({"bootstrap.servers": mock.address, "group.id": "counts", "log_level": 0})

    def count():
        return reader.get_watermark_offsets(TopicPartition(desk.topic, 0), timeout=5, cached=False)[1]

    def build():
        begins.append(count())  # all trials share the topic
        return desk.sink(format=format)

    options = {**desk.options, "topic": desk.topic, "idempotent": True, "format": format}
    sample = Sample(KafkaSink, options=options, build=build, arrived=lambda _: count() - begins[-1])
    try:
        assert broken(sample, "sink") == []
    finally:
        reader.close()
