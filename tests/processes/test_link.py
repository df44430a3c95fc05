"""Links: messages come whole and in order, however the socket cuts them, and what cannot travel harms no other."""

from __future__ import annotations

import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagflow.completion import Completion
from dagflow.errors import InvalidField, PluginBug, RecordError, WorkerError, WriteFailed
from dagflow.exchange import Usage
from dagflow.processes.link import Link
from dagflow.processes.messages import Bring, Settled, Stop, ToChild, ToParent, Write
from dagflow.processes.packing import (
    NOT_PACKED,
    blame,
    decoder_of,
    encode,
    pack_error,
    pack_record,
    unpack_error,
    unpack_record,
)
from dagflow.record import Record

pytestmark = pytest.mark.anyio


async def pair():
    """Two ends, what came at the second one, and an event that is set when it is lost."""
    one, other = socket.socketpair()
    came, lost = [], asyncio.Event()
    sender = Link(ToParent, lambda message: None, lambda: None)
    receiver = Link(ToChild | ToParent, came.append, lost.set)
    await sender.open(one)
    await receiver.open(other)
    return sender, receiver, came, lost


async def test_messages_come_in_order():
    """Many small ones and one that is larger than the socket's buffer; all before the end is told."""
    sender, receiver, came, lost = await pair()
    big = Write(1, "out", None, "", "", b"x" * 3_000_000)
    sent = [Stop(str(n)) for n in range(500)] + [big] + [Stop("last")]
    for message in sent:
        sender.send(message)
    await sender.drained()
    sender.close()
    await lost.wait()
    assert came == sent
    receiver.close()


async def test_what_cannot_travel_harms_no_other():
    """The error is raised where it is sent; those before and after it arrive."""
    sender, receiver, came, lost = await pair()
    sender.send(Stop("before"))
    with pytest.raises(NOT_PACKED):
        sender.send(Bring("in", b"k", pack_record(Record({"value": object()}))))
    sender.send(Stop("after"))
    sender.close()
    await lost.wait()
    assert [message.reason for message in came] == ["before", "after"]
    sender.send(Stop("too late"))  # nothing happens
    receiver.close()


def there_and_back(record):
    """What becomes of a record on its way."""
    message = decoder_of(ToChild).decode(encode(Bring("in", b"k", pack_record(record))))
    return unpack_record(message.record)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(fields=st.dictionaries(st.text(), VALUES), session=st.none() | st.text(), priority=st.integers(-9, 9))
def test_records_are_what_they_were(fields, session, priority):
    """With all that is beside their fields."""
    record = Record(fields, "id", session, priority, 12.5, {"n": 1})
    same = there_and_back(record)
    assert (dict(same), same.id, same.session, same.priority, same.deadline, same.meta) == (
        fields,
        "id",
        session,
        priority,
        12.5,
        {"n": 1},
    )


def test_completions_travel():
    """Anywhere in a value; a live one does not."""
    completion = Completion("text", "stop", "m", Usage(1, 2), worker="w")
    same = there_and_back(Record({"deep": [{"completion": completion}]}))["deep"][0]["completion"]
    assert same.as_dict() == completion.as_dict()
    record = Record({"fine": 1, "live": Completion.live()})
    with pytest.raises(TypeError) as caught:
        there_and_back(record)
    assert isinstance(blamed := blame(record, caught.value), InvalidField)
    assert "`live`" in str(blamed)


@pytest.mark.parametrize(
    "error",
    [
        WorkerError("overloaded", "too much", retry_after=3.0, status=429),
        WriteFailed("out.jsonl", OSError(28, "No space left on device")),
        RecordError("plain"),
    ],
)
def test_errors_mean_the_same(error):
    """So that retries, statuses and dead letters are as if nothing had lain in between."""
    error.node = "ask"
    message = decoder_of(ToParent).decode(encode(Settled("in", b"k", "failed", False, pack_error(error))))
    same = unpack_error(message.fault)
    for name in ("code", "retryable", "retry_after", "ends_run", "node"):
        assert getattr(same, name) == getattr(error, name)
    assert str(same) == str(error)
    assert getattr(same, "status", None) == getattr(error, "status", None)


def test_a_bug_is_told_as_one():
    """What a plugin in the parent raises by mistake is no error of the record's own."""
    fault = pack_error(ValueError("oops"))
    assert fault.code == PluginBug(ValueError("oops")).code
    assert "oops" in fault.message
    assert not fault.retryable
