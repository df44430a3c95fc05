"""Messages of a broker: which record becomes of which, by the option `format`."""

from __future__ import annotations

import pytest

from dagflow.mesh.wire import write_message
from dagflow.record import Record, UnreadableInput
from dagflow.sources.messages import MessageReader


def clock():
    """A clock that stands still."""
    return 100.0


def read(payload, headers=None, format="auto", fields=("input",)):
    """Read one message."""
    return MessageReader(format, list(fields), clock).read(headers or {}, payload, "t:0:1")


@pytest.mark.parametrize("format", ["auto", "records"])
def test_an_object(format):
    """Its fields, and its own id, session, priority and deadline; the rest is meta."""
    payload = b' {"id": 7, "session": "s", "priority": 2, "deadline": "30s", "input": "x", "more": 1}'
    record = read(payload, format=format)
    assert (record.id, record.session, record.priority, record.deadline) == ("7", "s", 2, 130.0)
    assert (dict(record), dict(record.meta)) == ({"input": "x"}, {"more": 1})
    assert read(b'{"input": "x"}', format=format).id == "t:0:1"


def test_a_text():
    """It becomes `input`, where that is the one field; an object is a text too if `raw` is asked for."""
    assert dict(read(b"hello")) == {"input": "hello"}
    assert dict(read(b'{"input": 1}', format="raw")) == {"input": '{"input": 1}'}
    assert isinstance(read(b"hello", fields=["other"]), UnreadableInput)
    assert isinstance(read(b"hello", format="records"), UnreadableInput)


@pytest.mark.parametrize("format", ["auto", "records"])
def test_a_whole_record(format):
    """What a sink of dagflow sent brings all of its fields."""
    headers, payload = write_message(Record({"input": "x", "n": 1}, "a", "s"), clock)
    record = read(payload, headers, format)
    assert (record.id, record.session, dict(record)) == ("a", "s", {"input": "x", "n": 1})


@pytest.mark.parametrize(
    ("payload", "given", "reason"),
    [
        (None, {}, "the message has no value"),
        (b"\xff", {}, "not UTF-8"),
        (b"\xff", {"format": "raw"}, "not UTF-8"),
        (b'{"other": 1}', {}, "field `input` is missing"),
        (b"[1]", {"format": "records"}, "no JSON object"),
        (b"{", {}, "not JSON"),
        (b'{"input": "x", "priority": "high"}', {}, "`priority` should be a whole number"),
        (b'{"a":' * 100_000, {}, "nested too deeply"),
        (b"{}", {"headers": {"Dagflow-Version": "9"}}, "its schema version is `9`"),
        (
            write_message(Record({"n": 1}, "a"), clock)[1],
            {"headers": write_message(Record({"n": 1}, "a"), clock)[0]},
            "field `input` is missing",
        ),
    ],
)
def test_what_is_no_record(payload, given, reason):
    """It is one that fails, with its place, its text and the reason."""
    record = read(payload, **given)
    assert isinstance(record, UnreadableInput)
    assert str(record.error).startswith("t:0:1: ")
    assert reason in str(record.error)
    assert record.id == "t:0:1"
    assert record.get("value") == (payload.decode(errors="replace") if payload else None)
