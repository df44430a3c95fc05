"""Shedding: which record a full channel loses, and that the counts are exact."""

from __future__ import annotations

import pytest

from dagflow.errors import WouldBlock

pytestmark = pytest.mark.anyio


def fill(rig, channel, records):
    """Send records given as (name, priority)."""
    for name, priority in records:
        channel.send_nowait(rig.record(name, priority=priority))


def rest(channel):
    """Ids of what the channel holds, in order."""
    ids = []
    while True:
        try:
            ids.append(channel.receive_nowait().id)
        except WouldBlock:
            return ids


TRAFFIC = [("a", 1), ("b", 0), ("c", 2), ("d", 0), ("e", 3), ("f", 1)]


@pytest.mark.parametrize(
    ("policy", "kept", "lost"),
    [
        ("drop_newest", ["a", "b", "c"], ["d", "e", "f"]),
        ("drop_oldest", ["d", "e", "f"], ["a", "b", "c"]),
        ("drop_lowest", ["a", "c", "e"], ["d", "b", "f"]),
    ],
)
async def test_a_full_channel_loses_what_its_policy_says(rig, policy, kept, lost):
    """Six records through a channel of three that nobody reads: three are kept, three are shed."""
    channel = rig.channel(capacity=3, when_full=policy)
    fill(rig, channel, TRAFFIC)
    assert [id for id, *_ in rig.lost] == lost
    s = channel.statistics()
    assert (s.offered, s.shed, s.buffered, s.max_depth) == (6, 3, 3, 3)
    assert s.shed_reasons == {policy: 3}
    assert rest(channel) == kept


async def test_drop_lowest_keeps_the_older_of_equals(rig):
    """Among records of one priority the newest goes, so that waiting pays."""
    channel = rig.channel(capacity=2, when_full="drop_lowest")
    fill(rig, channel, [("a", 0), ("b", 0), ("c", 0), ("d", 1)])
    assert [id for id, *_ in rig.lost] == ["c", "b"]
    assert rest(channel) == ["a", "d"]


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest", "drop_lowest"])
@pytest.mark.parametrize("max_bytes", [None, 30, 5])
async def test_the_books_balance_whenever_somebody_is_told(rig, policy, max_bytes):
    """Whoever learns of a lost record may look at the channel at that moment."""
    looked = []
    channel = rig.channel(capacity=3, when_full=policy, max_bytes=max_bytes)
    rig.on_lost = lambda: looked.append(rig.balances(channel))
    fill(rig, channel, TRAFFIC)
    channel.abandon()
    assert looked
    assert all(looked)


class Unspeakable:
    """A value that fails when it is asked for its form."""

    def __repr__(self):
        raise RuntimeError("no words")


NESTED: list = []
for _ in range(200_000):  # deeper than any version of Python follows
    NESTED = [NESTED]


@pytest.mark.parametrize(
    "value", ["\ud800", Unspeakable(), NESTED, 2**100, {(1, 2): 3}], ids=lambda v: type(v).__name__
)
async def test_a_value_without_a_json_form_weighs_something(rig, value):
    """A channel that bounds bytes takes any record, and its books end where they began."""
    channel = rig.channel(max_bytes=1000)
    record = rig.record("a")
    record["value"] = value
    channel.send_nowait(record)
    assert 0 < channel.statistics().buffered_bytes <= 1000
    assert channel.receive_nowait() is record
    assert channel.statistics().buffered_bytes == 0


async def test_bytes_make_room_by_policy_too(rig):
    """With `max_bytes`, as many old records go as the new one needs."""
    channel = rig.channel(max_bytes=3 * 13, when_full="drop_oldest")
    fill(rig, channel, [("a", 0), ("b", 0), ("c", 0)])
    channel.send_nowait(rig.record("d" * 14))  # 26 bytes, the size of two of the others
    assert [id for id, *_ in rig.lost] == ["a", "b"]
    assert channel.statistics().buffered_bytes == 39
    assert rest(channel) == ["c", "d" * 14]
