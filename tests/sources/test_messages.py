"""Messages: what becomes of a message, whoever sent it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dagflow.mesh.wire import to_wire
from dagflow.record import Record, UnreadableInput
from dagflow.sources.messages import MessageOptions, MessageReader


def clock() -> float:
    """A clock that stands."""
    return 100.0


def read(payload=b"", headers=None, **options) -> Record:
    """What a message becomes."""
    return MessageReader(MessageOptions(**options), clock).read(headers, payload, "in:7", "`S`, message 7")


def complaint(*args, **options) -> str:
    """Why a message is no record."""
    record = read(*args, **options)
    assert isinstance(record, UnreadableInput)
    assert record.id == "in:7"
    return str(record.error)


@pytest.mark.parametrize("format", ["auto", "records"])
def test_what_dagflow_sent_comes_back(format):
    """With all its fields, not only those that must be there."""
    record = Record({"input": "a", "more": [1]}, "x", "s", 3, 130.0, {"tier": "gold"})
    headers, payload = to_wire(record, clock)
    came = read(payload, headers, format=format)
    assert (dict(came), came.id, came.session, came.priority, came.meta) == (dict(record), "x", "s", 3, record.meta)
    assert came.deadline == pytest.approx(130.0, abs=5)


def test_a_record_without_an_id_gets_one():
    """As every record has one."""
    assert read(b'{"fields": {"input": "a"}}', {"Dagflow-Version": "1"}).id == "in:7"
    assert read(b'{"id": "", "input": "a"}').id == "in:7"


@pytest.mark.parametrize("format", ["auto", "records"])
def test_an_object_is_taken_as_a_line_is(format):
    """Its own id, session, priority and deadline; what is no field is meta."""
    text = b'{"id": "x", "session": "s", "priority": 2, "deadline": "30s", "input": "a", "tier": "gold"}'
    came = read(text, {"traceparent": "t"}, format=format)
    assert (dict(came), came.id, came.session, came.priority, came.deadline) == ({"input": "a"}, "x", "s", 2, 130.0)
    assert came.meta == {"tier": "gold", "traceparent": "t"}


@pytest.mark.parametrize("payload", [b"hello", b"[1]", b'"text"', b"17", b"", b'{"input": '])
def test_anything_else_is_text(payload):
    """Where that is allowed."""
    for format in ("auto", "raw"):
        came = read(payload, format=format)
        assert (dict(came), came.id) == ({"input": payload.decode()}, "in:7")
    assert "`S`, message 7: " in complaint(payload, format="records")


def test_raw_looks_into_nothing():
    """Neither into an object, nor into what another dagflow sent."""
    assert dict(read(b'{"input": "a"}', format="raw")) == {"input": '{"input": "a"}'}
    assert dict(read(b"{}", {"Dagflow-Version": "1"}, format="raw")) == {"input": "{}"}


def test_fields_are_those_that_must_be_there():
    """Whoever sent the message."""
    assert dict(read(b'{"q": 1, "input": 2}', fields=["q"])) == {"q": 1}
    assert "field `q` is missing" in complaint(b'{"input": 2}', fields=["q"])
    assert "field `q` is missing" in complaint(b"text", fields=["q"])
    headers, payload = to_wire(Record({"input": 1}), clock)
    assert "field `q` is missing" in complaint(payload, headers, fields=["q"])


@pytest.mark.parametrize(
    ("payload", "headers", "options", "reason"),
    [
        (b"\xff", None, {}, "not UTF-8"),
        (b"[1]", None, {"format": "records"}, "expected an object, but found `array`"),
        (b"{", None, {"format": "records"}, "not JSON: Input data was truncated"),
        (b'{"input": 1, "priority": "high"}', None, {}, "`priority` should be a whole number, but is `str`"),
        (b"{}", {"Dagflow-Version": "2"}, {}, "a record of version 2, and this dagflow knows version 1"),
        (b'{"a":' * 100_000, None, {}, "nested too deeply"),
    ],
)
def test_what_is_no_record_says_why(payload, headers, options, reason):
    """With the place, and the payload to be looked at."""
    assert complaint(payload, headers, **options).startswith("`S`, message 7: ")
    assert reason in complaint(payload, headers, **options)
    assert len(read(payload, headers, **options)["message"]) <= 10_000


def test_fields_of_raw_messages_are_refused():
    """They would have no effect."""
    with pytest.raises(ValidationError, match="raw messages give the field `input`"):
        MessageOptions(format="raw", fields=["q"])
