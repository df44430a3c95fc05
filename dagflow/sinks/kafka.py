"""Sink `kafka`: sends records to a topic; one is delivered when all replicas have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dagflow.errors import InvalidField
from dagflow.mesh.kafka.options import CONNECTION, KafkaOptions
from dagflow.mesh.kafka.publisher import Publisher
from dagflow.options import Duration, Size
from dagflow.plugin import Sink
from dagflow.sinks.messages import MessageOptions

if TYPE_CHECKING:
    from dagflow.plugin import Context
    from dagflow.record import Record


class Kafka(Sink):
    """Sends each record as a message to `topic`, and waits until it is acknowledged.

    Records of one session go to one partition. `concurrency` is how many may be unacknowledged.
    """

    class Options(KafkaOptions, MessageOptions):
        topic: str = Field(min_length=1, description="where the messages go")
        key: Literal["session", "id", "none"] = Field(
            "session", description="what is the key: messages of one key go to one partition, those without to any"
        )
        idempotent: bool = Field(
            True, description="have the brokers refuse what was sent twice after an error; some know nothing of it"
        )
        linger: Duration = Field(0.0, ge=0, description="how long a batch waits for more; it goes at once by default")
        max_batch: Size = Field(64 * 1024, ge=1, description="the largest batch for one partition")
        max_request: Size = Field(1024**2, ge=1024, description="the largest message; brokers have limits too")

    incidental = CONNECTION | {"idempotent", "linger", "max_batch", "max_request"}
    default_concurrency = 512
    resumable = True
    parallel = True
    _publisher: Publisher | None = None

    def reads(self) -> set[str]:
        return self.options.reads()

    def writes(self) -> set[str]:
        return set()

    async def open(self, context: Context) -> None:
        await super().open(context)
        self._encode = self.options.build_encoder(context.clock)
        self._publisher = Publisher(self.options)
        await self._publisher.open()

    async def close(self) -> None:
        if self._publisher is not None:
            await self._publisher.close()

    async def write(self, record: Record) -> None:
        given, payload = self._encode(record)
        headers = [(name, value.encode()) for name, value in given.items()]
        await self._publisher.publish(payload, self._key(record), headers)

    def _key(self, record: Record) -> bytes | None:
        chosen = self.options.key
        key = None if chosen == "none" else getattr(record, chosen)
        try:
            return None if key is None else key.encode()
        except UnicodeEncodeError as error:
            raise InvalidField(chosen, "text that UTF-8 can hold", key) from error
