"""Desk: a topic, a group and what a test does with them: sends, reads, asks what is committed, runs a pipeline."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from peers.kafka_brokers import KafkaBroker
from rigs import Flow, FunctionStage, ListSink, edge_of

from dagflow.engine.engine import Engine
from dagflow.graph.plan import DeadLettersPlan
from dagflow.sinks.kafka import Kafka as KafkaSink
from dagflow.sources.kafka import Kafka as KafkaSource
from dagflow.store.database import open_database
from dagflow.store.letter import Selection
from dagflow.store.letters import LETTERS, find_letters

_NUMBERS = itertools.count()
QUICK = {"session_timeout": "1s", "handover": "500ms", "commit_interval": "20ms"}
"""Options of a source with which a test need not wait."""


class Desk:
    """A topic on a broker, and a group that reads it."""

    def __init__(self, broker: KafkaBroker, partitions: int = 1) -> None:
        self.broker = broker
        self.partitions = partitions
        self.topic, self.group = f"topic-{next(_NUMBERS)}", f"group-{next(_NUMBERS)}"
        broker.create_topic(self.topic, partitions)

    @property
    def options(self) -> dict[str, Any]:
        """What every node needs."""
        return {"servers": [self.broker.address], "request_timeout": "5s"}

    def source(self, **more: Any) -> KafkaSource:
        """Make a source that reads the topic to its end, unless told otherwise."""
        given = {"topics": [self.topic], "group": self.group, "until": "end", **QUICK, **more}
        return KafkaSource(KafkaSource.Options(**{**self.options, **given}))

    def sink(self, **more: Any) -> KafkaSink:
        """Make a sink that writes to the topic."""
        idempotent = self.broker.abilities.idempotent
        given = {"topic": self.topic, "idempotent": idempotent, **more}
        return KafkaSink(KafkaSink.Options(**{**self.options, **given}))

    async def send(self, *values: bytes | None, key: bytes | None = None, partition: int | None = None) -> None:
        """Send messages as another program would, over all partitions unless told otherwise."""
        producer = AIOKafkaProducer(bootstrap_servers=self.broker.address, acks="all")
        await producer.start()
        try:
            for number, value in enumerate(values):
                where = number % self.partitions if partition is None and key is None else partition
                await producer.send_and_wait(self.topic, value, key=key or b"", partition=where)
        finally:
            await producer.stop()

    async def read(self, count: int) -> list[Any]:
        """Read the topic from its begin until there are enough."""
        consumer = AIOKafkaConsumer(
            self.topic, bootstrap_servers=self.broker.address, auto_offset_reset="earliest", enable_auto_commit=False
        )
        found: list[Any] = []
        async with consumer, asyncio.timeout(20):
            while len(found) < count:
                for messages in (await consumer.getmany(timeout_ms=100)).values():
                    found += messages
        return found

    async def committed(self) -> list[int | None]:
        """Give what the group has committed in each partition."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.broker.address, group_id=self.group, enable_auto_commit=False
        )
        consumer.assign([TopicPartition(self.topic, number) for number in range(self.partitions)])
        async with consumer:
            return [await consumer.committed(TopicPartition(self.topic, n)) for n in range(self.partitions)]

    async def wait_committed(self, offset: int) -> None:
        """Wait until the group has committed an offset in every partition."""
        async with asyncio.timeout(20):
            while await self.committed() != [offset] * self.partitions:
                await asyncio.sleep(0.01)


class Pipe:
    """A pipeline of a source, a stage and a sink that keeps dead letters."""

    def __init__(self, folder: Path, source: Any, stage: Any = None, sink: Any = None, **settings: Any) -> None:
        self.source = source
        self.sink = ListSink() if sink is None else sink
        self.path = folder / f"letters-{next(_NUMBERS)}.db"
        edge = settings.pop("edge", {})
        plugins = {"in": source, "s": FunctionStage(stage or _same), "out": self.sink}
        plan = {"dead_letters": DeadLettersPlan(self.path), **settings.pop("plan", {})}
        self.flow = Flow(plugins, [edge_of("in -> s", **edge), "s -> out"], {"s": settings}, **plan)

    async def run(self) -> dict[str, Any]:
        """Run to the end; give the outcomes that occurred."""
        async with asyncio.timeout(30):
            await self.flow.run()
        return self.flow.outcomes

    @asynccontextmanager
    async def running(self):
        """Run while the block lasts, then drain; give the engine."""
        engine: Engine = self.flow.engine()
        task = asyncio.ensure_future(engine.run())
        started = asyncio.ensure_future(engine.started.wait())
        await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        try:
            yield engine
        finally:
            engine.stop("the test is over")
            async with asyncio.timeout(30):
                self.flow.report = await task

    @property
    def letters(self) -> list[tuple[str, str, str]]:
        """Record, outcome and code of each dead letter."""
        with closing(open_database(self.path, LETTERS, create=True)) as store:
            return sorted((m.record, m.outcome, m.code) for m in find_letters(store, Selection(), payloads=False))


async def _same(record: Any) -> Any:
    return record
