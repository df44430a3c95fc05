"""Messages: how a record becomes a message of a broker, for another dagflow or for somebody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from dagflow.expressions import Template
from dagflow.mesh.wire import to_wire
from dagflow.options import Options
from dagflow.sinks.lines import LineOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagflow.record import Record


class MessageOptions(Options):
    """The options of sinks that send messages to a broker."""

    format: Literal["dagflow", "records"] = Field(
        "dagflow",
        description="`dagflow`: whole records, for sources of dagflow; `records`: an object of JSON, or the text of"
        " `template`, for others",
    )
    fields: list[str] | None = Field(
        None, min_length=1, description="the fields of each object, in this order; by default `id` and all fields"
    )
    template: Template | None = Field(
        None, description="the template of the text of each message, instead of an object"
    )

    @model_validator(mode="after")
    def _one_form(self) -> MessageOptions:
        given = [name for name in ("fields", "template") if getattr(self, name) is not None]
        if len(given) > 1:
            raise PydanticCustomError("forms_of_output", "`fields` and `template` exclude each other")
        if given and self.format == "dagflow":
            text = '`{name}` needs `format = "records"`; a whole record has all of its fields'
            raise PydanticCustomError("fields_of_whole", text, {"name": given[0]})
        return self

    def reads(self) -> set[str]:
        """Fields that every record must have for its message."""
        return self._lines().reads()

    def build_encoder(self, clock: Callable[[], float]) -> Callable[[Record], tuple[dict[str, str], bytes]]:
        """Build the function that makes headers and payload of a record; it raises RecordErrors."""
        if self.format == "dagflow":
            return lambda record: to_wire(record, clock)
        encode = self._lines().build_encoder()
        return lambda record: ({}, encode(record)[:-1])

    def _lines(self) -> LineOptions:
        return LineOptions.model_construct(fields=self.fields, template=self.template)
