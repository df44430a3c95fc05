"""The ends of an edge over Kafka: one topic and one group for each edge, keyed by session.

A record that was cut off is left open: its offset is not committed, so that it comes again, with those behind it.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from dagflow.errors import EdgeFull, NotPublished, PluginError, UnreadableRecord
from dagflow.mesh.carried import carried_key, carrier_name, take_over, unreadable
from dagflow.mesh.kafka.client import has_topic
from dagflow.mesh.kafka.consumer import Consumer
from dagflow.mesh.kafka.lag import Lag
from dagflow.mesh.kafka.publisher import Publisher
from dagflow.mesh.wire import to_header, to_wire
from dagflow.plugin import Sink, Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dagflow.graph.plan import EdgePlan
    from dagflow.mesh.kafka.offsets import Offsets
    from dagflow.plugin import Context
    from dagflow.record import Outcome, Record


class Outlet(Sink):
    """Hands records to the topic of an edge; one is handed off when all replicas have it."""

    hands_off = True
    resumable = True
    default_concurrency = 512
    _publisher: Publisher | None = None
    _lag: Lag | None = None

    def __init__(self, options: Any, edge: EdgePlan) -> None:
        super().__init__(options)
        self._edge = edge

    async def open(self, context: Context) -> None:
        await super().open(context)
        edge, self._topic = self._edge, carrier_name(context.pipeline, self._edge)
        self._publisher = Publisher(SimpleNamespace(**dict(self.options), topic=self._topic))
        await self._publisher.open()
        await _find(self.options, self._topic)
        self._lag = Lag(self.options, self._topic, edge.capacity, 0.0 if edge.drops else edge.block_timeout_s)
        await self._lag.open()

    async def close(self) -> None:
        if self._publisher is not None:
            await self._publisher.close()
        if self._lag is not None:
            await self._lag.close()

    async def write(self, record: Record) -> None:
        given, payload = to_wire(record, self.context.clock)
        headers = [(name, value.encode()) for name, value in given.items()]
        key = None if record.session is None else to_header(record.session).encode()
        lag = self._lag
        try:
            await lag.enter(self._topic)
        except NotPublished:
            raise EdgeFull("drop_newest" if self._edge.drops else "block_timeout") from None
        try:
            stored = await self._publisher.publish(payload, key, headers)
            lag.noted(stored.topic_partition, stored.offset)
        finally:
            lag.left()


class Inlet(Source):
    """Takes records over from the topic of an edge, and passes each that has an outcome here."""

    finite = False
    gives_back = True
    takes_over = True
    _consumer: Consumer | None = None

    def __init__(self, options: Any, edge: EdgePlan) -> None:
        super().__init__(options)
        self._edge = edge
        self._places: dict[Record, tuple[Offsets, int]] = {}

    async def open(self, context: Context) -> None:
        await super().open(context)
        self._topic = carrier_name(context.pipeline, self._edge)
        await _find(self.options, self._topic)
        about = {"topics": [self._topic], "group": self._topic, "start": "earliest", "until": None}
        self._consumer = Consumer(SimpleNamespace(**dict(self.options), **about), context.logger)
        await self._consumer.open()

    async def close(self) -> None:
        if self._consumer is not None:
            await self._consumer.close()
        self._places.clear()

    async def records(self) -> AsyncIterator[Record]:
        async for offsets, messages in self._consumer.batches():
            for message in messages:
                if offsets.closed:
                    break
                record = self._read(message)
                offsets.open(message.offset)
                self._places[record] = (offsets, message.offset)
                yield record

    def settle(self, record: Record, outcome: Outcome) -> None:
        offsets, offset = self._places.pop(record)
        if not record.ticket.is_cut_off(outcome):
            offsets.finish(offset)
            self._consumer.note_finished()

    def _read(self, message: Any) -> Record:
        place, payload = f"{message.partition}:{message.offset}", message.value or b""
        headers = {name: (value or b"").decode(errors="replace") for name, value in message.headers or ()}
        try:
            record = take_over(headers, payload, self.context.clock)
        except ValueError as error:
            record = unreadable(UnreadableRecord(f"`{self._topic}`, message {place}", str(error)), payload, place)
        record.key = carried_key(self._topic, place)
        return record


async def _find(options: Any, topic: str) -> None:
    if not await has_topic(options, topic):
        text = f"there is no topic `{topic}` for this edge; `dagflow mesh apply FILE` creates what a file needs"
        raise PluginError(text)
