"""Source `nats`: takes records from a stream of JetStream, and acknowledges what is done."""

from __future__ import annotations

from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dagflow.errors import RedeliveredTooOften
from dagflow.mesh.nats.connection import Connection
from dagflow.mesh.nats.consumer import Consumer
from dagflow.mesh.nats.options import CONNECTION, NatsOptions
from dagflow.options import Duration
from dagflow.plugin import Source
from dagflow.record import Outcome, Record, RefusedInput, UnreadableInput
from dagflow.sources.messages import MessageOptions, MessageReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from dagflow.mesh.nats.consumer import Delivery
    from dagflow.plugin import Context


class Nats(Source):
    """Takes records from `stream`, over the durable consumer `consumer`, which other programs may share.

    A message is acknowledged when its record was delivered or filtered, or when its dead letter is kept; all others are
    given back, and come again. A message that came too often is not worked on any more, but fails as `redelivered`.
    """

    class Options(NatsOptions, MessageOptions):
        stream: str = Field(min_length=1, pattern=r"^[^\s.*>/\\]+$", description="the stream, which must be there")
        consumer: str = Field(
            min_length=1,
            pattern=r"^[^\s.*>/\\]+$",
            description="the durable pull consumer; it is created if it is not there",
        )
        subject: str | None = Field(None, description="only messages of this subject, which may have wildcards")
        ack_wait: Duration = Field(
            30.0,
            ge=0.1,
            description="of a consumer that is created: how soon messages of a program that died come again",
        )
        max_ack_pending: int = Field(
            10_000, ge=1, description="of a consumer that is created: how many messages all programs may hold together"
        )
        batch: int = Field(256, ge=1, description="how many messages are asked for at a time, at most")
        redelivery_delay: Duration = Field(5.0, ge=0, description="how long a message that is given back waits")
        max_redeliveries: int = Field(
            10, ge=0, description="how often a message may come again before it fails without being tried"
        )
        until: Literal["empty"] | None = Field(
            None, description="`empty`: end when all messages are taken; without it, wait for more"
        )

    splits = replaceable = True
    incidental = CONNECTION | {"ack_wait", "max_ack_pending", "batch", "redelivery_delay", "max_redeliveries", "until"}
    gives_back = True
    _connection: Connection | None = None
    _consumer: Consumer | None = None

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.finite = self.options.until is not None
        self._open: dict[Record, Delivery] = {}

    def writes(self) -> set[str]:
        return set(self.options.fields)

    async def open(self, context: Context) -> None:
        await super().open(context)
        options = self.options
        self._reader = MessageReader(options, context.clock)
        self._connection = Connection(options, f"{context.pipeline}:{context.name}", context.logger)
        await self._connection.open()
        self._consumer = Consumer(
            self._connection,
            options.stream,
            options.consumer,
            self._settings(),
            partial(context.room, Record()),
            options.batch,
            context.logger,
        )
        await self._consumer.open()

    async def close(self) -> None:
        if self._consumer is not None:
            await self._consumer.close()
        if self._connection is not None:
            await self._connection.close()
        self._open.clear()

    async def records(self) -> AsyncIterator[Record]:
        while (delivery := await self._consumer.next(until_empty=self.finite)) is not None:
            record = self._read(delivery)
            self._open[record] = delivery
            yield record

    def settle(self, record: Record, outcome: Outcome) -> None:
        delivery = self._open.pop(record, None)
        if delivery is None:
            return
        if record.ticket.is_done(outcome):
            self._consumer.acknowledge(delivery)
        else:
            # What a drain cut off may go on elsewhere at once; nobody has failed at it.
            cut_off = outcome is Outcome.CANCELLED
            self._consumer.give_back(delivery, 0.0 if cut_off else self.options.redelivery_delay)

    def _read(self, delivery: Delivery) -> Record:
        id, place = f"{self.context.name}:{delivery.sequence}", f"`{self.options.stream}`, message {delivery.sequence}"
        record = self._reader.read(delivery.headers, delivery.payload, id, place)
        delivery.headers, delivery.payload = None, b""  # it is held until it is done, and the record has them
        if delivery.deliveries > self.options.max_redeliveries + 1 and not isinstance(record, UnreadableInput):
            record = RefusedInput(RedeliveredTooOften(delivery.deliveries - 1), record)
        record.key = blake2b(b"%d.%s" % (delivery.key[0], delivery.key[1].encode()), digest_size=16).digest()
        return record

    def _settings(self) -> Any:
        from nats.js.api import AckPolicy, ConsumerConfig

        options = self.options
        return ConsumerConfig(
            durable_name=options.consumer,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=options.ack_wait,
            max_deliver=-1,
            max_ack_pending=options.max_ack_pending,
            filter_subject=options.subject,
        )
