"""Server-sent events: whatever the lines look like, and wherever the network cuts."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dagflow.workers.http import sse
from dagflow.workers.http.sse import EventReader, EventTooLong

STREAM = (
    "\ufeff: a comment\n\n"
    'data: {"a": "ü€😀"}\n\n'
    "event: other\r\nid: 7\r\ndata:no space\r\n\r\n"
    "data: one\rdata:  two\rdata\rdata: four\r\r"
    "retry: 5\n\ndatabase: no\n\n"
    "data: mixed\r\ndata: ends\n\r\n"
    "data: [DONE]\n\n"
).encode()
EVENTS = ['{"a": "ü€😀"}', "no space", "one\n two\n\nfour", "mixed\nends", "[DONE]"]


def read(*blocks: bytes) -> list[str]:
    """Give all events of blocks."""
    reader = EventReader()
    events = [event for block in blocks for event in reader.feed(block)]
    return [event.decode() for event in [*events, *reader.end()]]


def test_a_stream_that_comes_whole():
    """Comments, other fields, three kinds of line ends, several lines of data, and a mark of the byte order."""
    assert read(STREAM) == EVENTS


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_a_cut_anywhere_changes_nothing(cut):
    """Also within a character, a line end or the mark of the byte order."""
    assert read(STREAM[:cut], STREAM[cut:]) == EVENTS


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_many_small_blocks_change_nothing(size):
    """Down to single bytes, with empty blocks in between."""
    blocks = [STREAM[start:end] for start, end in pairwise([*range(0, len(STREAM), size), len(STREAM)])]
    assert read(*(part for block in blocks for part in (block, b""))) == EVENTS


def test_events_come_as_soon_as_they_end():
    """An empty line is enough, and a CR need not wait for what follows it."""
    reader = EventReader()
    assert reader.feed(b"data: a\n") == []
    assert reader.feed(b"\n") == [b"a"]
    assert reader.feed(b"data: b\r\r") == [b"b"]
    assert reader.feed(b"\ndata: c\n\n") == [b"c"]


def test_the_end_ends_an_event():
    """Some servers leave out the last empty line, or the last line end too."""
    assert read(b"data: a\n") == read(b"data: a") == ["a"]


def test_what_is_held_back_is_bounded(monkeypatch):
    """In one line, and over many lines of data."""
    monkeypatch.setattr(sse, "LONGEST", 100)
    with pytest.raises(EventTooLong):
        read(b"data: ", b"x" * 60, b"x" * 60)
    with pytest.raises(EventTooLong):
        read(*[b"data: " + b"x" * 20 + b"\n"] * 6)
    with pytest.raises(EventTooLong):
        read(*[b"data\n"] * 101)
    assert len(read(*[b"data: " + b"x" * 20 + b"\n\n"] * 6)) == 6
