"""Messages: how a broker's message becomes a record, whether a sink of dagflow or another program sent it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from dagflow.errors import UnreadableRecord
from dagflow.mesh.wire import VERSION_HEADER, read_message
from dagflow.record import Record, UnreadableInput
from dagflow.sources.formats import records_format, take_id, take_rest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dagflow.sources.formats import Format

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
TEXT_FIELD: Final = "input"
"""The field of a message that is plain text."""


class MessageReader:
    """Makes records of messages.

    Args:
        format: `auto`, `records` or `raw`, as the options of sources have it.
        fields: which every record has.
        clock: that of the pipeline, for deadlines.
    """

    def __init__(self, format: str, fields: Sequence[str], clock: Callable[[], float]) -> None:
        self._format = format
        self._fields = fields
        self._fill: Format = records_format(fields)
        self._clock = clock

    def read(self, headers: Mapping[str, str], payload: bytes | None, place: str) -> Record:
        """Make a record of a message; an `UnreadableInput` where it is none. `place` names the message."""
        try:
            if payload is None:
                raise UnreadableRecord(place, "the message has no value")
            if self._format == "raw":
                return Record({TEXT_FIELD: payload.decode()}, place)
            if VERSION_HEADER in headers:
                return self._checked(read_message(headers, payload, place, self._clock), place)
            return self._foreign(payload, place)
        except (ValueError, RecursionError) as error:
            return _unreadable(UnreadableRecord(place, _reason(error)), payload, place)
        except UnreadableRecord as error:
            return _unreadable(error, payload, place)

    def _checked(self, record: Record, place: str) -> Record:
        missing = next((name for name in self._fields if name not in record), None)
        if missing is not None:
            raise UnreadableRecord(place, f"field `{missing}` is missing")
        record.id = record.id or place
        return record

    def _foreign(self, payload: bytes, place: str) -> Record:
        record = Record((), place)
        if self._format == "auto" and not payload.lstrip().startswith(b"{") and list(self._fields) == [TEXT_FIELD]:
            record[TEXT_FIELD] = payload.decode()
            return record
        value = _decode(payload)
        take_id(value, record)
        self._fill(value, record)
        take_rest(value, record, self._clock)
        return record


def _unreadable(error: UnreadableRecord, payload: bytes | None, place: str) -> UnreadableInput:
    fields = {"value": payload.decode(errors="replace")} if payload else {}
    return UnreadableInput(error, fields, place)


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, msgspec.ValidationError):
        return "no JSON object"
    return f"not JSON: {error}" if isinstance(error, msgspec.DecodeError) else str(error)
