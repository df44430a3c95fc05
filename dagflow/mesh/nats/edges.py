"""The ends of an edge over JetStream: one work-queue stream for each edge, from which each message is taken once.

Where records of one session keep their order, the stream has a subject for each of `partitions`, a session stays in
one, and of each only one message at a time is with any program: the next one comes when that is settled, wherever it
was.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from dagflow.errors import EdgeFull, NotPublished, PluginError, RedeliveredTooOften, UnreadableRecord
from dagflow.mesh.carried import Names, carried_key, carrier_name, take_over, unreadable
from dagflow.mesh.nats.connection import Connection
from dagflow.mesh.nats.consumer import Consumer
from dagflow.mesh.nats.jetstream import find_stream
from dagflow.mesh.nats.publisher import Publisher
from dagflow.mesh.nats.replies import Waiting, Working
from dagflow.mesh.reply import ADDRESS_HEADER
from dagflow.mesh.wire import to_wire
from dagflow.plugin import Sink, Source
from dagflow.record import Outcome, Record, RefusedInput
from dagflow.shares import bucket_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from dagflow.graph.plan import EdgePlan
    from dagflow.mesh.nats.consumer import Delivery
    from dagflow.plugin import Context

_BATCH: Final = 256


class Outlet(Sink):
    """Hands records to the stream of an edge; one is handed off when the stream has stored it."""

    hands_off = True
    resumable = True
    default_concurrency = 256
    _connection: Connection | None = None
    _publisher: Publisher | None = None

    def __init__(self, options: Any, edge: EdgePlan) -> None:
        super().__init__(options)
        self._edge = edge

    async def open(self, context: Context) -> None:
        await super().open(context)
        edge, options = self._edge, self.options
        stream = carrier_name(context.pipeline, edge)
        self._subject = subject_of(stream)
        self._partitions = partitions_of(edge, options)
        self._turns, self._names = count(), Names()
        self._duplicates = context.metrics.counter("duplicates")
        self._connection = Connection(options, f"{context.pipeline}:{context.name}", context.logger)
        await self._connection.open()
        await _find(self._connection, stream)
        room_s = 0.0 if edge.drops else edge.block_timeout_s
        self._waiting = Waiting(self._connection, context.pipeline)
        self._publisher = Publisher(self._connection, stream, options.publish_timeout, room_s)
        await self._publisher.open()
        if edge.answers:
            await self._waiting.open()

    async def close(self) -> None:
        if self._publisher is not None:
            await self._waiting.close()
            await self._publisher.close()
        if self._connection is not None:
            await self._connection.close()

    async def write(self, record: Record) -> None:
        headers, payload = to_wire(record, self.context.clock)
        if not self._edge.answers or not record.ticket.waits:
            address = getattr(record.ticket.record, "reply_to", None)
            if address is not None:  # of somebody who waits at another machine
                headers[ADDRESS_HEADER] = address
            await self._publish(record, headers, payload)
            return
        address, awaited = self._waiting.expect(record)
        headers[ADDRESS_HEADER] = address
        try:
            await self._publish(record, headers, payload)
            await awaited.run()
        except asyncio.CancelledError:
            self._waiting.cancel(address)  # it may be stored, also if nobody has said so yet
            raise
        finally:
            self._waiting.forget(address)

    async def _publish(self, record: Record, headers: dict[str, str], payload: bytes) -> None:
        try:
            is_known = await self._publisher.publish(
                f"{self._subject}.{self._partition(record)}", headers, payload, self._names.name(record)
            )
        except NotPublished as error:
            if not error.is_full:
                raise
            raise EdgeFull("drop_newest" if self._edge.drops else "block_timeout") from None
        if is_known:
            self._duplicates.add()

    def _partition(self, record: Record) -> int:
        if self._partitions == 1:
            return 0
        if record.session is None:
            return next(self._turns) % self._partitions
        return bucket_of(record.session, self._partitions)


class Inlet(Source):
    """Takes records over from the stream of an edge, and acknowledges each that has an outcome here.

    What was cut off by the end of a run is given back at once. What comes again and again, since programs die of it,
    fails as `redelivered`.
    """

    finite = False
    gives_back = True
    takes_over = True
    replaceable = True
    _connection: Connection | None = None

    def __init__(self, options: Any, edge: EdgePlan) -> None:
        super().__init__(options)
        self._edge = edge
        self.can_cancel = edge.answers
        self._open: dict[Record, tuple[Consumer, Delivery]] = {}
        self._consumers: list[Consumer] = []

    async def open(self, context: Context) -> None:
        await super().open(context)
        self._stream = carrier_name(context.pipeline, self._edge)
        self._connection = Connection(self.options, f"{context.pipeline}:{context.name}", context.logger)
        self._working = Working(self._connection, context.pipeline)
        await self._connection.open()
        await _find(self._connection, self._stream)
        if self._edge.answers:
            await self._working.open()
        room, partitions = partial(context.room, Record()), partitions_of(self._edge, self.options)
        for settings in consumers_of(self._stream, self._edge, self.options):
            given = (self._connection, self._stream, settings.durable_name, settings, room)
            consumer = Consumer(*given, _BATCH if partitions == 1 else 1, context.logger)
            self._consumers.append(consumer)
            await consumer.open()

    async def close(self) -> None:
        await asyncio.gather(*(consumer.close() for consumer in self._consumers))
        if self._connection is not None:
            await self._working.close()
            await self._connection.close()
        self._open.clear()

    async def records(self) -> AsyncIterator[Record]:
        deliveries = _of_one(self._consumers[0]) if len(self._consumers) == 1 else _of_all(self._consumers)
        async for consumer, delivery in deliveries:
            record = self._read(delivery)
            self._open[record] = (consumer, delivery)
            if self._is_awaited(record):
                self._working.begin(record)
            yield record
            self._working.note_accepted(record)

    def on_answer(self, record: Record, answer: Record) -> None:
        if self._is_awaited(record):
            self._working.answer(record, answer)
        else:
            super().on_answer(record, answer)

    def settle(self, record: Record, outcome: Outcome) -> Awaitable[None] | None:
        found = self._open.pop(record, None)
        if found is None:
            return None
        consumer, delivery = found
        if record.ticket.is_cut_off(outcome):
            consumer.give_back(delivery, 0.0 if outcome is Outcome.CANCELLED else self.options.redelivery_delay)
        else:
            consumer.acknowledge(delivery)
            if self._is_awaited(record):
                return self._working.end(record, outcome)
        return None

    def _is_awaited(self, record: Record) -> bool:
        return self._edge.answers and record.reply_to is not None

    def _read(self, delivery: Delivery) -> Record:
        place, headers, payload = f"{delivery.key[0]}.{delivery.key[1]}", delivery.headers, delivery.payload
        delivery.headers, delivery.payload = None, b""  # it is held until it is done, and the record has them
        try:
            record = take_over(headers, payload, self.context.clock)
        except ValueError as error:
            fault = UnreadableRecord(f"`{self._stream}`, message {delivery.sequence}", str(error))
            record = unreadable(fault, payload, str(delivery.sequence))
        else:
            if delivery.deliveries > self.options.max_redeliveries + 1:
                record = RefusedInput(RedeliveredTooOften(delivery.deliveries - 1), record)
        record.key = carried_key(self._stream, place)
        record.reply_to = None if headers is None else headers.get(ADDRESS_HEADER)
        return record


def subject_of(stream: str) -> str:
    """Give what the subjects of an edge's messages begin with."""
    return f"dagflow.{stream}"


def partitions_of(edge: EdgePlan, options: Any) -> int:
    """Give how many subjects an edge has."""
    return options.partitions if edge.sessions else 1


def consumers_of(stream: str, edge: EdgePlan, options: Any) -> list[Any]:
    """Give the settings of an edge's consumers, as the client library has them."""
    from nats.js.api import AckPolicy, ConsumerConfig

    partitions = partitions_of(edge, options)
    return [
        ConsumerConfig(
            durable_name=f"p{number}",
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=options.ack_wait,
            max_deliver=-1,
            max_ack_pending=1 if partitions > 1 else options.max_ack_pending,
            filter_subject=f"{subject_of(stream)}.{number}",
        )
        for number in range(partitions)
    ]


async def _find(connection: Connection, stream: str) -> None:
    try:
        await find_stream(connection, stream)
    except PluginError as error:
        if error.__cause__ is not None:
            raise
        text = f"there is no stream `{stream}` for this edge; `dagflow mesh apply FILE` creates what a file needs"
        raise PluginError(text) from None


async def _of_one(consumer: Consumer) -> AsyncIterator[tuple[Consumer, Delivery]]:
    while (delivery := await consumer.next()) is not None:
        yield consumer, delivery


async def _of_all(consumers: list[Consumer]) -> AsyncIterator[tuple[Consumer, Delivery]]:
    """Give what any of them has, as it comes; one of them at most waits to be given."""
    found: asyncio.Queue[Any] = asyncio.Queue(1)

    async def pump(consumer: Consumer) -> None:
        try:
            async for item in _of_one(consumer):
                await found.put(item)
        except PluginError as error:
            await found.put(error)

    pumps = [asyncio.ensure_future(pump(consumer)) for consumer in consumers]
    try:
        while not isinstance(item := await found.get(), PluginError):
            yield item
        raise item
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.wait(pumps)
