"""Lanes: sessions keep their lane; capacity and shedding are the whole edge's."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from dagflow.channel.doorbell import Doorbell
from dagflow.channel.lanes import Lane, LaneChannel
from dagflow.context import ChannelLinks
from dagflow.errors import EndOfStream, WouldBlock
from dagflow.graph.plan import EdgePlan
from dagflow.record import Record
from dagflow.shares import bucket_of, jump_hash


def lanes(count, lost=None, **edge):
    """A channel and its lanes."""
    bells = [Doorbell() for _ in range(count)]
    links = ChannelLinks(lambda record, *_: lost.append(record.id), lambda: 0.0, Doorbell(), bells)
    channel = LaneChannel(EdgePlan("a", "b", **edge), links)
    return channel, [Lane(channel, index) for index in range(count)]


def take_all(lane):
    """The ids that a lane has."""
    taken = []
    while True:
        try:
            taken.append(lane.receive_nowait().id)
        except (WouldBlock, EndOfStream):
            return taken


@pytest.mark.parametrize(
    ("key", "buckets", "bucket"),
    [(1, 1, 0), (42, 57, 43), (0xDEAD10CC, 1, 0), (0xDEAD10CC, 666, 361), (256, 1024, 520)],
)
def test_the_hash_is_the_published_one(key, buckets, bucket):
    """Values that other implementations of the paper give."""
    assert jump_hash(key, buckets) == bucket


def test_few_sessions_move_when_there_is_one_lane_more():
    """About one in nine of those in eight lanes moves to the ninth, and none elsewhere."""
    sessions = [f"session {n}" for n in range(3000)]
    moved = [bucket_of(s, 9) for s in sessions if bucket_of(s, 9) != bucket_of(s, 8)]
    assert set(moved) == {8}
    assert 200 < len(moved) < 500


def test_sessions_spread_evenly():
    """No lane has much more than its share."""
    counts = Counter(bucket_of(f"user-{n}", 8) for n in range(8000))
    assert len(counts) == 8
    assert 800 < min(counts.values()) <= max(counts.values()) < 1200


def test_a_session_keeps_its_lane_and_its_order():
    """Whatever comes in between."""
    channel, all_lanes = lanes(4)
    for n in range(100):
        channel.send_nowait(Record(id=f"{n % 7}/{n}", session=str(n % 7)))
    taken = [take_all(lane) for lane in all_lanes]
    for session in map(str, range(7)):
        of_session = [[id for id in ids if id.startswith(f"{session}/")] for ids in taken]
        (mine,) = filter(None, of_session)
        assert mine == [f"{session}/{n}" for n in range(100) if n % 7 == int(session)]


def test_records_without_a_session_go_round():
    """Each lane gets its share."""
    channel, all_lanes = lanes(3)
    for n in range(9):
        channel.send_nowait(Record(id=str(n)))
    assert [len(take_all(lane)) for lane in all_lanes] == [3, 3, 3]


def test_records_with_a_session_take_no_turns():
    """Where every other record has a session, those without one still go to all lanes."""
    channel, each = lanes(2)
    for n in range(8):
        channel.send_nowait(Record({}, str(n), session="a" if n % 2 else None))
    taken = [take_all(lane) for lane in each]
    assert [sum(int(id) % 2 == 0 for id in ids) for ids in taken] == [2, 2]


def test_the_capacity_is_shared():
    """One session may fill the whole edge; then a record of another one finds it full."""
    channel, _ = lanes(2, capacity=3)
    for n in range(3):
        channel.send_nowait(Record(id=str(n), session="a"))
    with pytest.raises(WouldBlock):
        channel.send_nowait(Record(id="x", session="b"))


def test_shedding_acts_on_the_whole_edge():
    """The oldest of all lanes goes, and the lowest of all lanes."""
    for policy, expected in [("drop_oldest", "0"), ("drop_lowest", "2")]:
        lost = []
        channel, _ = lanes(4, lost, capacity=4, when_full=policy)
        for n, priority in enumerate([1, 2, 0, 3, 3]):
            channel.send_nowait(Record(id=str(n), session=f"s{n}", priority=priority))
        assert lost == [expected]
        assert channel.statistics().buffered == 4


@pytest.mark.anyio
async def test_a_record_wakes_its_own_lane():
    """The receivers of other lanes sleep on."""
    channel, all_lanes = lanes(3)
    bells = channel._bells
    woken = []

    async def wait(index):
        await bells[index].wait()
        woken.append(index)

    tasks = [asyncio.ensure_future(wait(index)) for index in range(3)]
    await asyncio.sleep(0)
    channel.send_nowait(Record(session="a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert woken == [bucket_of("a", 3)]
    channel.close()
    await asyncio.gather(*tasks)
    assert sorted(woken) == [0, 1, 2]
    assert not all(lane.is_ended for lane in all_lanes)
    assert take_all(all_lanes[woken[0]]) == [""]
    assert all(lane.is_ended for lane in all_lanes)


def test_a_lane_loses_what_is_too_late():
    """A record whose deadline has passed is not handed out."""
    lost = []
    channel, (lane,) = lanes(1, lost)
    channel.send_nowait(Record({}, "late", deadline=0.0))
    channel.send_nowait(Record({}, "in time", deadline=1.0))
    assert take_all(lane) == ["in time"]
    assert lost == ["late"]


def test_the_last_of_the_least_important_is_lost():
    """Over all lanes, as in every order."""
    lost = []
    channel, _ = lanes(2, lost, capacity=4, when_full="drop_lowest")
    for name, priority in {"x": 1, "a": 0, "b": 0, "y": 2, "z": 2}.items():
        channel.send_nowait(Record({}, name, priority=priority))
    assert lost == ["b"]


def test_a_lane_ends_before_the_others():
    """It is closed and empty, whatever waits in other lanes."""
    channel, (first, second) = lanes(2)
    channel.send_nowait(Record({}, "1"))
    channel.close()
    assert sorted([first.is_ended, second.is_ended]) == [False, True]
