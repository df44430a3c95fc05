"""Wire: a record as the headers and the payload of a broker's message, and back.

Headers are printable ASCII, whatever the record holds. The payload is one JSON object with `fields` and `meta`. A
deadline travels as a time of day, since the clock of one program means nothing to another. A message without the header
of the version is from elsewhere; of an unknown version nothing else is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import time
from typing import Final
from urllib.parse import quote, unquote

from dagflow.errors import InvalidField, UnreadableRecord
from dagflow.record import Record
from dagflow.store.payload import pack, unpack

VERSION: Final = "1"
VERSION_HEADER: Final = "Dagflow-Version"

Headers = dict[str, str]


def write_message(record: Record, clock: Callable[[], float]) -> tuple[Headers, bytes]:
    """Make headers and payload of a record; `clock` is that of its deadline.

    Raises:
        InvalidField: a field, or a value of `meta`, is nothing that JSON can carry.
    """
    payload, lost = pack({"fields": dict(record), "meta": dict(record.meta)})
    if lost:
        raise _blame(record)
    headers = {VERSION_HEADER: VERSION, "Dagflow-Id": quote(record.id)}
    if record.session is not None:
        headers["Dagflow-Session"] = quote(record.session)
    if record.priority:
        headers["Dagflow-Priority"] = str(record.priority)
    if record.deadline is not None:
        headers["Dagflow-Deadline"] = str(round((time() + record.deadline - clock()) * 1000))
    if (traceparent := _traceparent(record)) is not None:
        headers["traceparent"] = traceparent
    return headers, payload.encode()


def read_message(headers: Mapping[str, str], payload: bytes, place: str, clock: Callable[[], float]) -> Record:
    """Make a record of a message that `write_message` made; `place` names the message in errors.

    Raises:
        UnreadableRecord: it is of another version, or no such message.
    """
    version = headers.get(VERSION_HEADER)
    if version != VERSION:
        raise UnreadableRecord(place, f"its schema version is `{version}`, and only {VERSION} is known here")
    try:
        content = unpack(payload.decode())
        fields, meta = content["fields"], content["meta"]
        deadline = headers.get("Dagflow-Deadline")
        record = Record(
            fields,
            unquote(headers["Dagflow-Id"]),
            None if (session := headers.get("Dagflow-Session")) is None else unquote(session),
            int(headers.get("Dagflow-Priority", 0)),
            None if deadline is None else clock() + int(deadline) / 1000 - time(),
            dict(meta),
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise UnreadableRecord(place, f"no message of version {VERSION}: {type(error).__name__}: {error}") from error
    if "traceparent" in headers:
        record.meta = {**record.meta, "traceparent": headers["traceparent"]}
    return record


def _traceparent(record: Record) -> str | None:
    trail = None if record.ticket is None else record.ticket.trail
    if trail is not None and trail.trace is not None:
        return trail.trace.header(trail.trace.span_id)
    found = record.meta.get("traceparent")
    return found if isinstance(found, str) and found.isascii() and found.isprintable() else None


def _blame(record: Record) -> InvalidField:
    _, fields = pack(record)
    name = fields[0] if fields else "meta"
    return InvalidField(name, "something that JSON can hold", record.get(name, record.meta))
