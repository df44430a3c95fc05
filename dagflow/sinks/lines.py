"""Lines: how a record becomes one line of output, for every sink that writes lines.

A line is JSON with the chosen fields, or a filled-in template. Completions are written as their
`as_dict`; any other value that JSON does not know fails the record, with the field's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from dagflow.completion import Completion
from dagflow.errors import InvalidField
from dagflow.expressions import Template
from dagflow.options import Options
from dagflow.record import ALWAYS_READABLE, Record
from dagflow.sinks.batch import build_answer

Encode = Callable[[Record], bytes]
"""Makes one line of a record, its line feed included."""


class LineOptions(Options):
    """The options of sinks that write lines."""

    format: Literal["records", "openai-batch", "stream"] = Field(
        "records",
        description="`records`: one object a line; `openai-batch`: the output lines of OpenAI's batch API;"
        " `stream`: the chunks of `completion` as they come",
    )
    fields: list[str] | None = Field(
        None, min_length=1, description="the fields of each object, in this order; by default `id` and all fields"
    )
    template: Template | None = Field(None, description="the template of the text of each record, instead of an object")

    @model_validator(mode="after")
    def _one_form(self) -> LineOptions:
        given = [name for name in ("fields", "template") if getattr(self, name) is not None]
        if self.format != "records":
            given.append(f'format = "{self.format}"')
        if len(given) > 1:
            raise PydanticCustomError(
                "forms_of_output",
                "expected one of `fields`, `template` and `format`; `{first}` and `{second}` exclude each other",
                {"first": given[0], "second": given[1]},
            )
        return self

    def reads(self) -> set[str]:
        """Fields that every record must have for its line."""
        if self.template is not None:
            return set(self.template.required)
        if self.format == "stream":
            return {"completion"}
        return set(self.fields or ()) - ALWAYS_READABLE

    def reads_any(self) -> list[set[str]]:
        """Groups of fields of which every record must have one."""
        return [{"completion", "error"}] if self.format == "openai-batch" else []

    def build_encoder(self) -> Encode:
        """Build the function that makes the line of a record; it raises RecordErrors."""
        if self.template is not None:
            return _template_encoder(self.template)
        if self.format == "openai-batch":
            return lambda record: _to_json(build_answer(record)) + b"\n"
        return _encode_all if self.fields is None else _fields_encoder(self.fields)


def _jsonable(value: Any) -> Any:
    if isinstance(value, Completion):
        return value.as_dict()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"`{type(value).__name__}`")


_to_json: Final = msgspec.json.Encoder(enc_hook=_jsonable).encode
# What else msgspec raises: for a lone surrogate, a key that is no text, a nesting without end.
_NOT_JSON: Final = (TypeError, ValueError, OverflowError, RecursionError)


def to_line(values: dict[str, Any]) -> bytes:
    """Make a line of JSON.

    Raises:
        InvalidField: a value is nothing that JSON can hold.
    """
    try:
        return _to_json(values) + b"\n"
    except _NOT_JSON as error:
        raise _blame(values, error) from error


def _encode_all(record: Record) -> bytes:
    return to_line({"id": record.id, **record})


def _fields_encoder(names: list[str]) -> Encode:
    own = [name for name in names if name in ALWAYS_READABLE]

    def encode(record: Record) -> bytes:
        values = {**{name: getattr(record, name) for name in own}, **record} if own else record
        try:
            fields = {name: values[name] for name in names}
        except KeyError as error:
            raise InvalidField(error.args[0], "there, as this sink writes it") from None
        return to_line(fields)

    return encode


def _template_encoder(template: Template) -> Encode:
    def encode(record: Record) -> bytes:
        try:
            return template.render(record).encode() + b"\n"
        except UnicodeEncodeError as error:
            raise _blame(record, error) from error

    return encode


def _blame(fields: Mapping[str, Any], error: Exception) -> InvalidField:
    """Find the field that JSON does not take."""
    for name, value in fields.items():
        try:
            _to_json(value)
        except _NOT_JSON:
            return InvalidField(name, f"something that JSON can hold ({error})", value)
    raise error
