"""Sink `nats`: publishes records to a stream of JetStream; one is delivered when the stream has it."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from dagflow.mesh.nats.connection import Connection
from dagflow.mesh.nats.jetstream import find_stream
from dagflow.mesh.nats.options import CONNECTION, NatsOptions
from dagflow.mesh.nats.publisher import Publisher
from dagflow.mesh.wire import to_header
from dagflow.options import Duration
from dagflow.plugin import Sink
from dagflow.shares import bucket_of
from dagflow.sinks.messages import MessageOptions

if TYPE_CHECKING:
    from dagflow.plugin import Context
    from dagflow.record import Record

_NUMBER = "{n}"


class Nats(Sink):
    """Publishes each record to `subject`, and waits until the stream has stored it.

    With `partitions`, records of one session go to one subject. `concurrency` is how many may wait to be stored.
    """

    class Options(NatsOptions, MessageOptions):
        subject: str = Field(
            min_length=1,
            pattern=r"^[^\s.*>]+(\.[^\s.*>]+)*$",
            description="the subject; with `partitions`, `{n}` in it stands for their number",
        )
        stream: str | None = Field(
            None, pattern=r"^[^\s.*>/\\]+$", description="the stream that must take it; by default, any that does"
        )
        partitions: int = Field(1, ge=1, le=10_000, description="how many subjects the sessions are spread over")
        deduplicate: bool = Field(
            True, description="whether the stream drops a record that it has had already within its `duplicate_window`"
        )
        on_full: Literal["wait", "fail"] = Field(
            "wait", description="what a record does while the stream is full, and refuses what is new"
        )
        publish_timeout: Duration = Field(
            60.0, gt=0, description="how long a record waits for a server to store it, over lost connections too"
        )

        @model_validator(mode="after")
        def _check(self) -> Nats.Options:
            if (_NUMBER in self.subject) is not (self.partitions > 1):
                text = "`partitions` and `{number}` in `subject` go together, as in `work.{number}`"
                raise PydanticCustomError("partitions", text, {"number": _NUMBER})
            return self

    incidental = CONNECTION | {"on_full", "publish_timeout"}
    default_concurrency = 256
    resumable = True
    parallel = True
    _connection: Connection | None = None
    _publisher: Publisher | None = None

    def reads(self) -> set[str]:
        return self.options.reads()

    def writes(self) -> set[str]:
        return set()

    async def open(self, context: Context) -> None:
        await super().open(context)
        options = self.options
        self._encode = options.build_encoder(context.clock)
        self._duplicates = context.metrics.counter("duplicates")
        self._turns = count()
        self._connection = Connection(options, f"{context.pipeline}:{context.name}", context.logger)
        await self._connection.open()
        if options.stream is not None:
            await find_stream(self._connection, options.stream)
        room_s = None if options.on_full == "wait" else 0.0
        self._publisher = Publisher(self._connection, options.stream, options.publish_timeout, room_s)
        await self._publisher.open()

    async def close(self) -> None:
        if self._publisher is not None:
            await self._publisher.close()
        if self._connection is not None:
            await self._connection.close()

    async def write(self, record: Record) -> None:
        headers, payload = self._encode(record)
        id = self._id(record) if self.options.deduplicate else None
        if await self._publisher.publish(self._subject(record), headers, payload, id):
            self._duplicates.add()

    def _subject(self, record: Record) -> str:
        partitions = self.options.partitions
        if partitions == 1:
            return self.options.subject
        lane = next(self._turns) % partitions if record.session is None else bucket_of(record.session, partitions)
        return self.options.subject.replace(_NUMBER, str(lane))

    def _id(self, record: Record) -> str:
        """Name a record as it would be named if its source handed it in once more."""
        key = None if record.ticket is None else getattr(record.ticket.record, "key", None)
        own = to_header(f"{self.context.pipeline}:{self.context.name}:{record.id}")
        return own if key is None else f"{own}:{key.hex()}"
