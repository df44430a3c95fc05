"""Source `kafka`: reads topics as a member of a consumer group.

An offset is committed when every record before it is done: delivered, filtered, or kept as a dead letter. What a run
leaves open is read again by whoever gets the partition next.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from dagflow.errors import PluginError, UnreadableRecord
from dagflow.mesh.kafka.consumer import Consumer
from dagflow.mesh.kafka.options import CONNECTION, KafkaOptions
from dagflow.mesh.wire import is_from_dagflow
from dagflow.options import Duration
from dagflow.plugin import Source
from dagflow.record import Outcome, Record, UnreadableInput
from dagflow.sources.messages import MessageOptions, MessageReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from dagflow.mesh.kafka.offsets import Offsets
    from dagflow.plugin import Context

_NO_HEADERS: Final[Mapping[str, str]] = {}


class Kafka(Source):
    """Reads records from the messages of `topics`.

    A message's key is the session of its record; its id is `TOPIC:PARTITION:OFFSET` where it brings none. `meta` has
    `topic`, `partition` and `offset`.
    """

    class Options(KafkaOptions, MessageOptions):
        topics: list[str] = Field(min_length=1, description="the topics that are read")
        group: str = Field(min_length=1, description="the consumer group, whose members share the partitions")
        start: Literal["earliest", "latest"] = Field(
            "earliest", description="where the group begins in a partition of which it has committed nothing"
        )
        until: Literal["end"] | None = Field(
            None, description="`end`: read what is there when the run starts, then end; by default it goes on"
        )
        max_ahead: int = Field(
            10_000, ge=1, description="how many records of a partition are handed in from its oldest open one on"
        )
        commit_interval: Duration = Field(1.0, ge=0.01, description="how often offsets are committed")
        session_timeout: Duration = Field(
            10.0, ge=0.5, description="how long the group waits for a member that is silent"
        )
        handover: Duration = Field(
            2.0, ge=0, description="how long a partition that goes to another member is kept for what is in flight"
        )

        @model_validator(mode="after")
        def _fits_group(self) -> Kafka.Options:
            if self.handover >= self.session_timeout:
                raise PydanticCustomError("late_handover", "`handover` must be shorter than `session_timeout`")
            if self.request_timeout <= self.session_timeout:
                text = "`request_timeout` must be longer than `session_timeout`, as a group may take that long to meet"
                raise PydanticCustomError("hasty_requests", text)
            return self

    incidental = CONNECTION | {"group", "until", "max_ahead", "commit_interval", "session_timeout", "handover"}
    gives_back = True
    in_order = True

    def __init__(self, options: BaseModel | None = None) -> None:
        super().__init__(options)
        self.finite = self.options.until == "end"
        self._places: dict[Record, tuple[Offsets, int]] = {}
        self._consumer: Consumer | None = None

    def writes(self) -> set[str]:
        return set(self.options.fields)

    async def open(self, context: Context) -> None:
        await super().open(context)
        self._reader = MessageReader(self.options, context.clock)
        self._consumer = Consumer(self.options, context.logger)
        await self._consumer.open()

    async def close(self) -> None:
        if self._consumer is not None:
            await self._consumer.close()

    async def records(self) -> AsyncIterator[Record]:
        places = self._places
        async for offsets, messages in self._consumer.batches():
            read = self._reader_of(messages[0])
            for message in messages:
                if offsets.closed:
                    break
                record = read(message)
                offsets.open(message.offset)
                places[record] = (offsets, message.offset)
                yield record

    def settle(self, record: Record, outcome: Outcome) -> None:
        offsets, offset = self._places.pop(record)
        if record.ticket is not None and record.ticket.is_done(outcome):
            offsets.finish(offset)
            self._consumer.note_finished()
        elif outcome is not Outcome.CANCELLED:
            reason = f"record `{record.id}` ended as {outcome} and is kept nowhere; its offset can't be passed"
            self._consumer.fail(PluginError(reason))

    def _reader_of(self, first: Any) -> Callable[[Any], Record]:
        """Build what makes records of the messages of one partition."""
        topic, partition, reader = first.topic, first.partition, self._reader
        name = f"{topic}:{partition}:"
        key = blake2b(name.encode(), digest_size=8).digest()

        def read(message: Any) -> Record:
            id, payload, offset = f"{name}{message.offset}", message.value, message.offset
            headers = _NO_HEADERS
            if message.headers:
                headers = {name: (value or b"").decode(errors="replace") for name, value in message.headers}
            if payload is None:
                record: Record = UnreadableInput(UnreadableRecord(id, "the message has no value"), id=id)
            else:
                record = reader.read(headers, payload, id, id)
            if record.__class__ is Record:
                about = {"topic": topic, "partition": partition, "offset": offset}
                record.meta = {**record.meta, **about} if record.meta else about
                if message.key is not None and record.session is None and not is_from_dagflow(headers):
                    record.session = message.key.decode(errors="backslashreplace")
            record.key = key + offset.to_bytes(8, "big")
            return record

        return read
