"""Records on the wire: they come back as they were, and what is none is refused."""

from __future__ import annotations

from time import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagflow.completion import Completion
from dagflow.errors import InvalidField, UnreadableRecord
from dagflow.mesh.wire import VERSION_HEADER, read_message, write_message
from dagflow.record import Record, Ticket
from dagflow.traceparent import begin_trace
from dagflow.trail import Trail

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def clock():
    """A clock that stands still."""
    return 100.0


@given(TEXTS, st.none() | TEXTS, st.integers(-9, 9), st.dictionaries(TEXTS, VALUES), st.dictionaries(TEXTS, VALUES))
def test_what_is_written_comes_back(id, session, priority, fields, meta):
    """Whatever a record holds; headers are printable ASCII."""
    headers, payload = write_message(Record(fields, id, session, priority, meta=meta), clock)
    assert all(value.isascii() and (value.isprintable()) for value in headers.values())
    record = read_message(headers, payload, "here", clock)
    assert (record.id, record.session, record.priority, record.deadline) == (id, session, priority, None)
    assert (dict(record), dict(record.meta)) == (fields, meta)


def test_a_completion_is_one_again():
    """Also inside of other values."""
    record = Record({"completion": Completion("yes", "stop"), "n": 1}, "a")
    back = read_message(*write_message(record, clock), "here", clock)
    assert isinstance(back["completion"], Completion)
    assert back["completion"].as_dict() == record["completion"].as_dict()


def test_a_deadline_is_a_time_of_day():
    """The other program's clock began elsewhere."""
    headers, payload = write_message(Record({}, "a", deadline=130.0), clock)
    assert abs(int(headers["Dagflow-Deadline"]) / 1000 - time() - 30) < 5
    assert abs(read_message(headers, payload, "here", lambda: 7.0).deadline - 37) < 5


def test_the_trace_goes_on():
    """That of the record's own span, or else of what brought it."""
    plain = Record({}, "a", meta={"traceparent": PARENT})
    headers, payload = write_message(plain, clock)
    assert headers["traceparent"] == PARENT
    assert read_message(headers, payload, "here", clock).meta["traceparent"] == PARENT
    plain.ticket = Ticket(plain, None)
    plain.ticket.trail = Trail(begin_trace(PARENT, 1.0))
    ours = write_message(plain, clock)[0]["traceparent"]
    assert ours.split("-")[1] == PARENT.split("-")[1]
    assert ours.split("-")[2] == f"{plain.ticket.trail.trace.span_id:016x}"


@pytest.mark.parametrize(
    ("headers", "payload", "reason"),
    [
        ({VERSION_HEADER: "2"}, b"{}", "its schema version is `2`, and only 1 is known here"),
        ({}, b"{}", "its schema version is `None`"),
        ({VERSION_HEADER: "1", "Dagflow-Id": "a"}, b"{", "no message of version 1"),
        ({VERSION_HEADER: "1", "Dagflow-Id": "a"}, b"[]", "no message of version 1"),
        ({VERSION_HEADER: "1", "Dagflow-Id": "a"}, b'{"fields": 1, "meta": {}}', "no message of version 1"),
        ({VERSION_HEADER: "1"}, b'{"fields": {}, "meta": {}}', "Dagflow-Id"),
        ({VERSION_HEADER: "1", "Dagflow-Id": "a", "Dagflow-Priority": "x"}, b'{"fields": {}, "meta": {}}', "version 1"),
        ({VERSION_HEADER: "1", "Dagflow-Id": "a"}, b"\xff", "version 1"),
    ],
)
def test_what_is_no_message_is_refused(headers, payload, reason):
    """With its place, and what is wrong."""
    with pytest.raises(UnreadableRecord, match=r"^here: ") as caught:
        read_message(headers, payload, "here", clock)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("record", "name"), [(Record({"f": {1}}, "a"), "f"), (Record({}, "a", meta={"m": {1}}), "meta")]
)
def test_what_json_cannot_carry_is_refused(record, name):
    """It would be something else on the other side."""
    with pytest.raises(InvalidField, match=f"field `{name}` should be something that JSON can hold"):
        write_message(record, clock)
