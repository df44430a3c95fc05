"""Sink `kafka`: sends records to a topic; one is delivered when all replicas have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from dagflow.errors import InvalidField
from dagflow.expressions import Template
from dagflow.mesh.kafka.options import KafkaOptions
from dagflow.mesh.kafka.publisher import Publisher
from dagflow.mesh.wire import write_message
from dagflow.options import Duration, Size
from dagflow.plugin import Sink
from dagflow.sinks.lines import LineOptions

if TYPE_CHECKING:
    from dagflow.plugin import Context
    from dagflow.record import Record

_FOR_OTHERS: Final = ("fields", "template")


class Kafka(Sink):
    """Sends each record as a message to `topic`, and waits until it is acknowledged.

    Records of one session go to one partition. `concurrency` is how many may be unacknowledged.
    """

    class Options(KafkaOptions):
        topic: str = Field(min_length=1, description="where the messages go")
        key: Literal["session", "id", "none"] = Field(
            "session", description="what is the key: messages of one key go to one partition, those without to any"
        )
        format: Literal["dagflow", "records"] = Field(
            "dagflow",
            description="`dagflow`: whole records, for a source of dagflow; `records`: objects of JSON or texts, for "
            "other programs",
        )
        fields: list[str] | None = Field(
            None, min_length=1, description="the fields of each object, in this order; by default `id` and all fields"
        )
        template: Template | None = Field(
            None, description="the template of the text of each message, instead of an object"
        )
        idempotent: bool = Field(
            True, description="have the brokers refuse what was sent twice after an error; some know nothing of it"
        )
        linger: Duration = Field(0.0, ge=0, description="how long a batch waits for more; it goes at once by default")
        max_batch: Size = Field(64 * 1024, ge=1, description="the largest batch for one partition")
        max_request: Size = Field(1024**2, ge=1024, description="the largest message; brokers have limits too")

        @model_validator(mode="after")
        def _check(self) -> Kafka.Options:
            given = [name for name in _FOR_OTHERS if getattr(self, name) is not None]
            if len(given) > 1:
                raise PydanticCustomError("forms_of_output", "`fields` and `template` exclude each other")
            if given and self.format == "dagflow":
                text = '`{name}` needs `format = "records"`; a whole record has all of its fields'
                raise PydanticCustomError("fields_of_whole", text, {"name": given[0]})
            return self

        def lines(self) -> LineOptions:
            """Give how an object or text is made."""
            return LineOptions.model_construct(fields=self.fields, template=self.template)

    default_concurrency = 512
    resumable = True
    _publisher: Publisher | None = None

    def reads(self) -> set[str]:
        return self.options.lines().reads()

    def writes(self) -> set[str]:
        return set()

    async def open(self, context: Context) -> None:
        await super().open(context)
        self._encode = self.options.lines().build_encoder()
        self._publisher = Publisher(self.options)
        await self._publisher.open()

    async def close(self) -> None:
        if self._publisher is not None:
            await self._publisher.close()

    async def write(self, record: Record) -> None:
        headers: list[tuple[str, bytes]] = []
        if self.options.format == "dagflow":
            given, payload = write_message(record, self.context.clock)
            headers = [(name, value.encode()) for name, value in given.items()]
        else:
            payload = self._encode(record)[:-1]
        await self._publisher.publish(payload, self._key(record), headers)

    def _key(self, record: Record) -> bytes | None:
        chosen = self.options.key
        key = None if chosen == "none" else getattr(record, chosen)
        try:
            return None if key is None else key.encode()
        except UnicodeEncodeError as error:
            raise InvalidField(chosen, "text that UTF-8 can hold", key) from error
