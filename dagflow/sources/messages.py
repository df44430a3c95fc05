"""Messages: how a message of a broker becomes a record.

What another dagflow sent comes back as it was. For what is from elsewhere, an object of JSON is taken as the source
`jsonl` takes a line, and anything else is the text of the field `input`. What is neither is an `UnreadableInput`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from dagflow.errors import UnreadableRecord
from dagflow.mesh.wire import TRACE_HEADER, from_wire, is_from_dagflow
from dagflow.options import FieldName, Options
from dagflow.record import Record, UnreadableInput
from dagflow.sources.formats import records_format, take_id, take_rest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_SHOWN: Final = 10_000  # characters of an unreadable payload that are kept to be looked at


class MessageOptions(Options):
    """The options of sources that read messages of a broker."""

    format: Literal["auto", "records", "raw"] = Field(
        "auto",
        description="`records`: what another dagflow sent, or an object of JSON; `raw`: text, which becomes the field"
        " `input`; `auto`: `records` where it is that, else `raw`",
    )
    fields: list[FieldName] = Field(
        ["input"],
        min_length=1,
        description="the fields that each record must have; of an object of JSON, the keys that become fields",
    )

    @model_validator(mode="after")
    def _check(self) -> MessageOptions:
        if self.format == "raw" and self.fields != ["input"]:
            raise PydanticCustomError("fields_of_raw", "raw messages give the field `input`; remove `fields`")
        return self


class MessageReader:
    """Makes records of messages."""

    def __init__(self, options: MessageOptions, clock: Callable[[], float]) -> None:
        self._format = options.format
        self._fields = options.fields
        self._fill = records_format(options.fields)
        self._clock = clock

    def read(self, headers: Mapping[str, str] | None, payload: bytes, id: str, place: str) -> Record:
        """Make the record of a message.

        Args:
            id: of the record, where the message says no other.
            place: what an error calls the message.
        """
        try:
            if self._format != "raw" and is_from_dagflow(headers):
                record = self._checked(from_wire(headers, payload, self._clock))
                record.id = record.id or id
                return record
            record = self._from_elsewhere(payload, id)
        except (ValueError, RecursionError) as error:
            fields = {"message": payload[:_SHOWN].decode(errors="replace")} if payload else {}
            return UnreadableInput(UnreadableRecord(place, _reason(error)), fields, id)
        if headers and TRACE_HEADER in headers:
            record.meta = {**record.meta, TRACE_HEADER: headers[TRACE_HEADER]}
        return record

    def _checked(self, record: Record) -> Record:
        for name in self._fields:
            if name not in record:
                raise ValueError(f"field `{name}` is missing")
        return record

    def _from_elsewhere(self, payload: bytes, id: str) -> Record:
        value = None if self._format == "raw" else self._object(payload)
        record = Record((), id)
        if value is None:
            record["input"] = payload.decode()
            return self._checked(record)
        take_id(value, record)
        self._fill(value, record)
        take_rest(value, record, self._clock)
        record.id = record.id or id
        return record

    def _object(self, payload: bytes) -> dict[str, Any] | None:
        """Give the object that a payload is; None where it is none and need not be."""
        try:
            return _decode(payload)
        except msgspec.DecodeError:
            if self._format == "records":
                raise
            return None


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, msgspec.ValidationError):
        return str(error).replace("Expected `object`, got", "expected an object, but found")
    return f"not JSON: {error}" if isinstance(error, msgspec.DecodeError) else str(error)
