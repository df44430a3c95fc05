"""Orders: which record a channel hands out next."""

from __future__ import annotations

import pytest

from dagflow.channel.channel import Channel
from dagflow.channel.doorbell import Doorbell
from dagflow.context import ChannelLinks
from dagflow.errors import WouldBlock
from dagflow.graph.plan import EdgePlan
from dagflow.record import Record


class Bench:
    """A channel with a clock that stands still, and what it lost."""

    def __init__(self, **edge):
        self.now = 0.0
        self.lost: list[str] = []
        links = ChannelLinks(lambda record, outcome, reason: self.lost.append(record.id), lambda: self.now, Doorbell())
        self.channel = Channel(EdgePlan("a", "b", **edge), links)

    def send(self, id, priority=0, deadline=None):
        """Send a record."""
        self.channel.send_nowait(Record(id=id, priority=priority, deadline=deadline))

    def drain(self):
        """Take all there is, by id."""
        taken = []
        while True:
            try:
                taken.append(self.channel.receive_nowait().id)
            except WouldBlock:
                return taken


def test_the_highest_priority_goes_first():
    """And among equals the one that came first."""
    bench = Bench(order="priority")
    for id, priority in [("a", 0), ("b", 2), ("c", 1), ("d", 2), ("e", -1)]:
        bench.send(id, priority)
    assert bench.drain() == ["b", "d", "c", "a", "e"]


@pytest.mark.parametrize(("waited", "first"), [(19.9, "new"), (20.1, "old")])
def test_waiting_makes_important(waited, first):
    """A record two priorities lower is overtaken only by what comes less than two `ageing` after it."""
    bench = Bench(order="priority", ageing_s=10.0)
    bench.send("old", 0)
    bench.now = waited
    bench.send("new", 2)
    assert bench.drain()[0] == first


def test_nothing_starves():
    """Under a flood of important records, the others wait no longer than the stated bound."""
    bench = Bench(order="priority", ageing_s=1.0, capacity=1000)
    bench.send("humble", 0)
    overtook = []
    while (taken := _after_two_more(bench)) != "humble":
        overtook.append(float(taken))
        bench.now += 0.5
    # Three priorities more: whatever came up to 3 s after it goes first, and nothing that came later.
    assert overtook == [when / 2 for when in range(7) for _ in range(2)]


def _after_two_more(bench):
    bench.send(str(bench.now), 3)
    bench.send(str(bench.now), 3)
    return bench.channel.receive_nowait().id


def test_the_earliest_deadline_goes_first():
    """Those without a deadline go last, in the order of arrival."""
    bench = Bench(order="deadline")
    for id, deadline in [("a", None), ("b", 9.0), ("c", 3.0), ("d", None), ("e", 9.0)]:
        bench.send(id, deadline=deadline)
    assert bench.drain() == ["c", "b", "e", "a", "d"]


@pytest.mark.parametrize("order", ["fifo", "priority", "deadline"])
@pytest.mark.parametrize(("policy", "lost"), [("drop_newest", ["d"]), ("drop_oldest", ["a"]), ("drop_lowest", ["c"])])
def test_every_policy_goes_with_every_order(order, policy, lost):
    """What is lost is the policy's affair, whatever goes next."""
    bench = Bench(order=order, when_full=policy, capacity=3)
    for id, priority, deadline in [("a", 1, 5.0), ("b", 2, 7.0), ("c", 0, 3.0), ("d", 1, 9.0)]:
        bench.send(id, priority, deadline)
    assert bench.lost == lost
    kept = [id for id in "abcd" if id not in lost]
    rank = {"fifo": "abcd", "priority": "badc", "deadline": "cabd"}[order]
    assert bench.drain() == sorted(kept, key=rank.index)


@pytest.mark.parametrize("order", ["priority", "deadline"])
def test_what_waited_too_long_is_shed_in_every_order(order):
    """`max_wait` counts from the moment that the record came in."""
    bench = Bench(order=order, max_wait_s=5.0)
    bench.send("old")
    bench.now = 4.0
    bench.send("young")
    bench.now = 6.0
    assert bench.drain() == ["young"]
    assert bench.lost == ["old"]
