"""Wire: a record as the headers and the payload of a broker's message, and back.

Headers are ASCII text without spaces: what is not is percent-encoded, so that every broker and every proxy leaves it as
it is. The payload is JSON, with the record's fields and its meta. A deadline travels as a time of day, since the clock
of a program means nothing to another one; so the clocks of machines must agree as well as deadlines are meant to.

| header | meaning |
|---|---|
| `Dagflow-Version` | the version of this form |
| `Dagflow-Id`, `Dagflow-Session`, `Dagflow-Priority` | of the record; the latter two only where it has them |
| `Dagflow-Deadline` | milliseconds since the epoch; only where it has one |
| `traceparent` | the span in which it was sent; only where there is one |
"""

from __future__ import annotations

import re
from time import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from dagflow.errors import InvalidField
from dagflow.record import NO_META, Record
from dagflow.store.payload import pack, unpack
from dagflow.traceparent import is_traceparent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VERSION: Final = 1
VERSION_HEADER: Final = "Dagflow-Version"
ID_HEADER: Final = "Dagflow-Id"
SESSION_HEADER: Final = "Dagflow-Session"
TRACE_HEADER: Final = "traceparent"
_PRIORITY: Final = "Dagflow-Priority"
_DEADLINE: Final = "Dagflow-Deadline"
_PLAIN: Final = re.compile(r"[!-$&-~]*")
_SAFE: Final = "".join(chr(code) for code in range(33, 127) if chr(code) != "%")


def to_wire(record: Record, clock: Callable[[], float]) -> tuple[dict[str, str], bytes]:
    """Make the headers and the payload of a record.

    Args:
        clock: the pipeline's, in seconds; deadlines are points on it.

    Raises:
        InvalidField: a field, or `meta`, has a value that would not come back as it was.
    """
    headers = {VERSION_HEADER: str(VERSION), ID_HEADER: to_header(record.id)}
    if record.session is not None:
        headers[SESSION_HEADER] = to_header(record.session)
    if record.priority:
        headers[_PRIORITY] = str(record.priority)
    if record.deadline is not None:
        headers[_DEADLINE] = str(round((time() + record.deadline - clock()) * 1000))
    traceparent = _traceparent(record)
    if traceparent is not None:
        headers[TRACE_HEADER] = traceparent
    text, lost = pack({"fields": record, "meta": record.meta} if record.meta else {"fields": record})
    if lost:
        raise _blame(record)
    return headers, text.encode()


def is_from_dagflow(headers: Mapping[str, str] | None) -> bool:
    """Whether a message says that it is a record, in whatever version."""
    return headers is not None and VERSION_HEADER in headers


def from_wire(headers: Mapping[str, str], payload: bytes, clock: Callable[[], float]) -> Record:
    """Make the record of a message that `is_from_dagflow`.

    Raises:
        ValueError: it is of a version that this dagflow does not know, or is not what that version says.
    """
    version = headers[VERSION_HEADER]
    if version != str(VERSION):
        raise ValueError(f"it is a record of version {version}, and this dagflow knows version {VERSION}")
    fields, meta = _unpacked(payload)
    session, deadline = headers.get(SESSION_HEADER), _whole(headers, _DEADLINE)
    traceparent = headers.get(TRACE_HEADER)
    if traceparent is not None:
        meta = {**meta, TRACE_HEADER: traceparent}
    return Record(
        fields,
        from_header(headers.get(ID_HEADER, "")),
        None if session is None else from_header(session),
        _whole(headers, _PRIORITY) or 0,
        None if deadline is None else clock() + deadline / 1000 - time(),
        meta,
    )


def to_header(text: str) -> str:
    """Give a text as the value of a header."""
    return text if _PLAIN.fullmatch(text) else quote(text, safe=_SAFE, errors="surrogatepass")


def from_header(value: str) -> str:
    """Give the text that `to_header` made a value of."""
    return unquote(value, errors="surrogatepass") if "%" in value else value


def _traceparent(record: Record) -> str | None:
    trail = None if record.ticket is None else record.ticket.trail
    if trail is not None and trail.trace is not None:
        return trail.trace.header(trail.trace.span_id)
    given = record.meta.get(TRACE_HEADER)
    return given if isinstance(given, str) and is_traceparent(given) else None


def _unpacked(payload: bytes) -> tuple[dict[str, Any], Mapping[str, Any]]:
    try:
        found = unpack(payload.decode())
        fields, meta = found["fields"], found.get("meta", NO_META)
        if isinstance(fields, dict) and (meta is NO_META or isinstance(meta, dict)):
            return fields, meta
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    raise ValueError(f"it says that it is a record of version {VERSION}, but its payload is none")


def _whole(headers: Mapping[str, str], name: str) -> int | None:
    value = headers.get(name)
    try:
        return None if value is None else int(value)
    except ValueError:
        raise ValueError(f"its header `{name}` is `{value[:40]}`; expected a whole number") from None


def _blame(record: Record) -> InvalidField:
    """Find what JSON does not take."""
    for name, value in {**record, "meta": record.meta}.items():
        if pack({"_": {name: value}})[1]:
            return InvalidField(str(name), "something that JSON can hold, as it goes to a broker", value)
    raise AssertionError(record)  # each of them can be carried, so all can
