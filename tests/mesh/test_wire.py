"""The wire: a record comes back as it was, and what is none is refused with the reason."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as some

from dagflow.completion import Completion
from dagflow.errors import InvalidField
from dagflow.exchange import Usage
from dagflow.mesh.wire import from_header, from_wire, is_from_dagflow, to_header, to_wire
from dagflow.record import Record, Ticket
from dagflow.testing.conformance.trial import SampleOwner
from dagflow.traceparent import TraceContext
from dagflow.trail import Trail

NOW = 100.0
VALUES = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = some.dictionaries(some.text() | some.just("$dagflow"), VALUES, max_size=4)
TRACE = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"


def clock() -> float:
    """A clock that stands."""
    return NOW


def sent(record: Record) -> Record:
    """The record that arrives."""
    return from_wire(*to_wire(record, clock), clock)


@given(FIELDS, some.text(), some.none() | some.text(), some.integers(), FIELDS)
def test_a_record_comes_back_as_it_was(fields, id, session, priority, meta):
    """Whatever JSON can hold, under any names; headers are ASCII without spaces."""
    record = Record(fields, id, session, priority, None, meta)
    headers, payload = to_wire(record, clock)
    assert all(value.isascii() and value.isprintable() and " " not in value for value in headers.values())
    came = from_wire(headers, payload, clock)
    assert (dict(came), came.id, came.session, came.priority) == (fields, id, session, priority)
    assert (came.deadline, dict(came.meta)) == (None, meta)


@given(some.text(some.characters()))
def test_a_header_holds_any_text(text):
    """Also what is no Unicode."""
    assert from_header(to_header(text)) == text


def test_a_completion_comes_back_as_one():
    """With all that is known of it."""
    came = sent(Record({"completion": Completion("text", "stop", "m", Usage(3, 4))}))["completion"]
    assert (came.text, came.finish_reason, came.model, came.usage) == ("text", "stop", "m", Usage(3, 4))


def test_a_deadline_travels_as_a_time_of_day():
    """Whoever takes the record has another clock."""
    headers, payload = to_wire(Record(deadline=NOW + 30), clock)
    assert abs(int(headers["Dagflow-Deadline"]) / 1000 - time.time() - 30) < 5
    came = from_wire(headers, payload, lambda: 5000.0)
    assert 5025 < came.deadline <= 5030.001


def test_the_trace_goes_on():
    """With the span of this pipeline where it has one, else with that of whoever sent the record here."""
    record = Record(meta={"traceparent": TRACE})
    assert to_wire(record, clock)[0]["traceparent"] == TRACE
    assert sent(record).meta == {"traceparent": TRACE}
    record.ticket = Ticket(record, SampleOwner())
    record.ticket.trail = Trail(TraceContext(1, 2, None, True))
    assert sent(record).meta["traceparent"] == f"00-{1:032x}-{2:016x}-01"
    assert "traceparent" not in to_wire(Record(meta={"traceparent": "nonsense\r\n"}), clock)[0]


@pytest.mark.parametrize(
    ("record", "name"),
    [
        (Record({"good": 1, "bad": {1, 2}}), "bad"),
        (Record({"live": Completion.live()}), "live"),
        (Record(meta={"odd": object()}), "meta"),
    ],
)
def test_what_json_cannot_hold_is_named(record, name):
    """Nothing is sent that would not come back as it was."""
    with pytest.raises(InvalidField, match=f"field `{name}` should be something that JSON can hold"):
        to_wire(record, clock)


@pytest.mark.parametrize("version", ["2", "", "1.0"])
def test_another_version_is_refused_with_its_number(version):
    """Its payload is not even looked at."""
    with pytest.raises(ValueError, match=f"a record of version {version}, and this dagflow knows version 1"):
        from_wire({"Dagflow-Version": version}, b"...", clock)


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"\xff", b"[]", b"null", b"{}", b'{"fields": []}', b'{"fields": {}, "meta": 3}', b"[" * 100_000],
)
def test_a_payload_that_is_none_is_refused(payload):
    """Also one that is JSON of another form."""
    with pytest.raises(ValueError, match="a record of version 1, but its payload is none"):
        from_wire({"Dagflow-Version": "1"}, payload, clock)


@pytest.mark.parametrize("name", ["Dagflow-Priority", "Dagflow-Deadline"])
def test_a_header_that_is_no_number_is_named(name):
    """As it was sent."""
    with pytest.raises(ValueError, match=f"its header `{name}` is `soon`; expected a whole number"):
        from_wire({"Dagflow-Version": "1", name: "soon"}, b'{"fields": {}}', clock)


def test_what_is_from_elsewhere():
    """It has not the header, or no headers at all."""
    assert is_from_dagflow(to_wire(Record(), clock)[0])
    assert not is_from_dagflow({"x": "y"})
    assert not is_from_dagflow(None)


def test_the_payload_can_be_read_by_others():
    """It is plain JSON."""
    assert json.loads(to_wire(Record({"input": "é"}, meta={"a": 1}), clock)[1]) == {
        "fields": {"input": "é"},
        "meta": {"a": 1},
    }
