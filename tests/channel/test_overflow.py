"""Edges that overflow to disk: nothing is lost, the order stays, and memory holds no more than it may."""

from __future__ import annotations

import asyncio
import os
import random
from types import SimpleNamespace

import pytest
from disks import small_files

from dagflow.channel.doorbell import Doorbell
from dagflow.channel.overflow import SpillChannel
from dagflow.completion import Completion
from dagflow.context import ChannelLinks
from dagflow.errors import EndOfStream, WouldBlock
from dagflow.exchange import Usage
from dagflow.graph.plan import EdgePlan, SpillPlan
from dagflow.record import Outcome, Record

pytestmark = pytest.mark.anyio


class Rig:
    """A channel, what it lost, and what it complained of."""

    def __init__(self, folder, capacity=3, max_bytes=1 << 20, **edge):
        self.now, self.lost, self.troubles = 100.0, [], []
        links = ChannelLinks(lambda *lost: self.lost.append(lost), lambda: self.now, Doorbell())
        plan = EdgePlan("a", "b", None, capacity, when_full="spill", spill=SpillPlan(folder, max_bytes), **edge)
        self.channel = SpillChannel(plan, links)
        self.overflow = self.channel.overflow
        self.overflow.on_trouble = self.troubles.append
        self.overflow.spool.open()

    def send(self, *ids, mark=None, **fields):
        """Send records of these ids."""
        for id in ids:
            record = Record({"input": f"text of {id}", **fields}, id, "s", 2, meta={"n": 1})
            record.ticket = SimpleNamespace(mark=mark)
            self.channel.send_nowait(record)

    def take(self):
        """Receive all that is there."""
        found = []
        while True:
            try:
                found.append(self.channel.receive_nowait())
            except (WouldBlock, EndOfStream):
                return found

    @property
    def balances(self):
        """Whether the books do."""
        s = self.channel.statistics()
        return s.offered == s.taken + s.shed + s.expired + s.cancelled + s.buffered


@pytest.fixture
def rig(tmp_path):
    """Room for three records in memory."""
    rig = Rig(tmp_path)
    yield rig
    rig.overflow.spool.close()


def test_what_has_no_room_comes_back_as_it_was(rig):
    """In order, with its fields, also answers; the disk is left as it was found."""
    answer = Completion("Blue.", "stop", "m", Usage(3, 1))
    rig.send(*"abcdefg", completion=answer, parts=[{"n": 1}, "ü"])
    assert (rig.overflow.spilled, rig.channel.depth) == (4, 7)
    found = rig.take()
    assert [record.id for record in found] == list("abcdefg")
    for record in found:
        back = record.pop("completion")
        assert isinstance(back, Completion)
        assert back.as_dict() == answer.as_dict()
        assert dict(record) == {"input": f"text of {record.id}", "parts": [{"n": 1}, "ü"]}
        assert (record.session, record.priority, record.meta) == ("s", 2, {"n": 1})
    assert rig.balances
    assert rig.overflow.spool.size == len(b"dagflow spill 1\n")


def test_the_fields_are_not_in_memory(rig):
    """Of a record on disk there is only what is known of it."""
    rig.send(*"abcde")
    assert [bool(record) for record in rig.overflow] == [True, True, True, False, False]


def test_like_a_queue(tmp_path):
    """Random sending, taking, and cancelling, against a list."""
    for seed in range(30):
        rig, chance, expected, sent = Rig(tmp_path / str(seed), capacity=1 + seed % 4), random.Random(seed), [], 0
        for _ in range(300):
            act = chance.random()
            if act < 0.5:
                rig.send(str(sent))
                expected.append(str(sent))
                sent += 1
            elif act < 0.9 and expected:
                record = rig.channel.receive_nowait()
                assert (record.id, record["input"]) == (expected[0], f"text of {expected.pop(0)}")
            elif expected:
                gone = chance.choice(expected)
                expected.remove(gone)
                rig.channel.cancel(next(record.ticket for record in rig.overflow if record.id == gone))
            assert rig.channel.depth == len(expected)
            assert rig.balances
        assert [record.id for record in rig.take()] == expected
        assert rig.overflow.spool.size <= len(b"dagflow spill 1\n")
        rig.overflow.spool.close()


async def test_senders_wait_when_the_disk_is_full_too(tmp_path):
    """It is bounded; they go on, in order, when there is room."""
    rig = Rig(tmp_path, capacity=2, max_bytes=4096)
    sent = 0
    while rig.overflow.has_room:
        rig.send(str(sent))
        sent += 1
    assert sent > 10
    assert rig.channel.room == 0
    waiting = []
    for id in range(sent, sent + 3):
        record = Record({"input": "late"}, str(id))
        record.ticket = SimpleNamespace(mark=None)
        with pytest.raises(WouldBlock):
            rig.channel.send_nowait(record)
        waiting.append(asyncio.ensure_future(rig.channel.send(record)))
        await asyncio.sleep(0)
    assert rig.channel.room == -3
    found = [record.id for record in rig.take()]
    await asyncio.gather(*waiting)
    found += [record.id for record in rig.take()]
    assert found == [str(id) for id in range(sent + 3)]
    rig.overflow.spool.close()


def test_a_disk_that_takes_no_more(rig):
    """It is told once for each record; what memory has room for goes on, and nothing is lost."""
    rig.send(*"abc")
    with small_files(400):
        while rig.overflow.has_room:
            rig.send(f"x{rig.channel.depth}")
        assert "cannot be written: File too large" in rig.troubles[0]
        with pytest.raises(WouldBlock):
            rig.send("late")
    depth = rig.channel.depth
    assert depth > 3
    assert [rig.channel.receive_nowait().id for _ in range(2)] == ["a", "b"]  # what did not go to disk is one too many
    rig.send("after")
    found = [record.id for record in rig.take()]
    assert found == ["c", *(f"x{n}" for n in range(3, depth)), "after"]


def test_what_is_no_json_stays_in_memory(rig):
    """It comes back as the same object; only so many may."""
    rig.send(*"abc")
    assert rig.channel.receive_nowait().id == "a"
    rig.send("d", "e", thing=object)
    assert rig.overflow.spilled == 0
    assert [record.id for record in rig.take()] == list("bcde")


def test_a_record_that_cannot_be_read_any_more_is_lost_and_told(rig):
    """As shed, with a reason; the others come."""
    rig.send(*"abcdef")
    [path] = rig.overflow.spool.folder.glob("*.segment")
    text = path.read_bytes()
    path.write_bytes(text.replace(b"text of e", b"test of e"))
    assert [record.id for record in rig.take()] == list("abcdf")
    assert [(record.id, outcome, reason) for record, outcome, reason in rig.lost] == [("e", Outcome.SHED, "unreadable")]
    assert "`e` cannot be read any more" in rig.troubles[0]
    assert rig.balances


def test_deadlines_and_waits_hold_on_disk(tmp_path):
    """What waited too long is lost when its turn comes."""
    rig = Rig(tmp_path, max_wait_s=5)
    rig.send(*"abcde")
    rig.now += 6
    rig.send("f")
    assert [record.id for record in rig.take()] == ["f"]
    assert [reason for _, _, reason in rig.lost] == ["max_wait"] * 5
    rig.overflow.spool.close()


def test_abandoned(rig):
    """What a later run goes on with stays on disk; all else comes back, for its dead letter, and is gone."""
    rig.send(*"abcd")
    rig.send("kept", mark=object())
    rig.send("f")
    rig.channel.abandon()
    assert {record.id: dict(record) for record, _, _ in rig.lost} == {
        **{id: {"input": f"text of {id}"} for id in "abcdf"},
        "kept": {},
    }
    assert rig.channel.depth == 0
    with pytest.raises(EndOfStream):
        rig.channel.receive_nowait()


def test_a_folder_of_its_owner_only(rig):
    """Prompts are nobody else's."""
    rig.send(*"abcd")
    folder = rig.overflow.spool.folder
    assert folder.name == "a+b"
    assert os.stat(folder).st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_what_has_no_form_on_disk_is_bounded_too(rig):
    """It stays in memory, which takes one more than its capacity, as nobody knows before; then senders wait."""
    rig.send(*"abcd", odd={1, 2})
    with pytest.raises(WouldBlock):
        rig.send("e", odd={1, 2})
    assert (rig.overflow.spilled, rig.channel.depth, rig.channel.room) == (0, 4, 0)
    assert rig.channel.receive_nowait().id == "a"
    rig.send("e")
    assert [record.id for record in rig.take()] == list("bcde")


def test_a_place_that_cannot_be_noted(rig, monkeypatch):
    """What was read is given nevertheless, and the trouble is told: it was taken out of a disk that is full."""
    rig.send(*"abcde")

    def refuse(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rig.overflow.spool, "take_out", refuse)
    monkeypatch.setattr(rig.overflow.spool, "clear", refuse)
    assert [record["input"] for record in rig.take()] == [f"text of {id}" for id in "abcde"]
    assert "No space left" in rig.troubles[0]
    assert rig.balances
