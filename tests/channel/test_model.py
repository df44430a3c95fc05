"""The channel against a simple model: random traffic; the books must balance after each action."""

from __future__ import annotations

import asyncio
from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dagflow.channel.channel import Channel
from dagflow.channel.doorbell import Doorbell
from dagflow.channel.lanes import Lane, LaneChannel
from dagflow.context import ChannelLinks
from dagflow.errors import EndOfStream, WouldBlock
from dagflow.graph.plan import EdgePlan
from dagflow.record import Record
from dagflow.shares import bucket_of


class ChannelMachine(RuleBasedStateMachine):
    """A list is the model of what is buffered, another of whose senders wait."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now = 0.0
        self.lost: list[Record] = []
        self.taken: list[Record] = []
        self.sent: list[Record] = []
        self.buffered: list[Record] = []
        self.came_at: dict[Record, float] = {}
        self.waiting: list[tuple[Record, asyncio.Task]] = []
        self.closed = False

    @initialize(
        capacity=st.integers(1, 4),
        when_full=st.sampled_from(["block", "drop_newest", "drop_oldest", "drop_lowest"]),
        max_wait_s=st.sampled_from([None, 2.0]),
        order=st.sampled_from(["fifo", "priority", "deadline"]),
        lanes=st.sampled_from([0, 0, 0, 2]),
    )
    def build(self, capacity, when_full, max_wait_s, order, lanes):
        """Build a channel with random settings."""
        self.order = "fifo" if lanes else order
        edge = EdgePlan(
            "a", "b", capacity=capacity, when_full=when_full, max_wait_s=max_wait_s, order=self.order, ageing_s=1.0
        )
        links = ChannelLinks(self._on_lost, lambda: self.now, Doorbell(), [Doorbell() for _ in range(lanes)])
        self.channel = (LaneChannel if lanes else Channel)(edge, links)
        self.lanes = [Lane(self.channel, index) for index in range(lanes)]

    def _on_lost(self, record, _outcome, _reason):
        assert all(record is not other for other in self.lost + self.taken)
        self.lost.append(record)
        self.buffered = [r for r in self.buffered if r is not record]

    def _turn(self):
        self.loop.run_until_complete(asyncio.sleep(0))

    @precondition(lambda self: not self.closed)
    @rule(priority=st.integers(0, 2), life=st.sampled_from([None, 1.0, 4.0]), session=st.sampled_from("abcd"))
    def send(self, priority, life, session):
        """Send a record from a task of its own, which may have to wait."""
        record = Record(id=str(len(self.sent)), session=session, priority=priority, deadline=life and self.now + life)
        record.ticket = object()
        self.sent.append(record)
        self._come([record])
        task = self.loop.create_task(self.channel.send(record))
        self._turn()
        if not task.done():
            self.buffered.remove(record)
            self.waiting.append((record, task))

    @rule(data=st.data())
    def receive(self, data):
        """Take the next record; it is the one the model expects, and waiting senders move up."""
        lane = data.draw(st.integers(0, len(self.lanes) - 1)) if self.lanes else None
        lost = len(self.lost)
        try:
            record = (self.channel if lane is None else self.lanes[lane]).receive_nowait()
        except WouldBlock:
            self._settle_waiting()  # who moved up may have been too late, too
            assert not self._mine(lane)
            assert not self.closed
            return
        except EndOfStream:
            assert not self._mine(lane)
            assert self.closed
            return
        self.taken.append(record)
        expected = [self._next(lane)] if self._mine(lane) else []
        self._settle_waiting()
        if len(self.lost) > lost or not expected:  # what was lost made room for another before the next was chosen
            expected.append(self._next(lane))
        assert any(record is one for one in expected)
        self.buffered.remove(record)

    def _mine(self, lane):
        return [r for r in self.buffered if lane is None or bucket_of(r.session, len(self.lanes)) == lane]

    def _next(self, lane):
        rank = {
            "fifo": lambda r: 0,
            "priority": lambda r: (self.came_at[r] - r.priority, -r.priority),
            "deadline": lambda r: inf if r.deadline is None else r.deadline,
        }
        return min(self._mine(lane), key=rank[self.order])

    def _come(self, records):
        self.buffered += records
        self.came_at |= dict.fromkeys(records, self.now)

    @rule(seconds=st.sampled_from([0.5, 1.5, 3.0]))
    def wait(self, seconds):
        """Let time pass."""
        self.now += seconds

    @precondition(lambda self: self.waiting or self.buffered)
    @rule(data=st.data())
    def cancel_ticket(self, data):
        """Cancel the ticket of a buffered or waiting record."""
        record = data.draw(st.sampled_from(self.buffered + [r for r, _ in self.waiting]))
        self.channel.cancel(record.ticket)
        assert self.lost[-1] is record
        self._settle_waiting()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel_sender(self, data):
        """Cancel a task that waits to send."""
        record, task = data.draw(st.sampled_from(self.waiting))
        task.cancel()
        self._turn()
        assert self.lost[-1] is record
        self._settle_waiting()

    @precondition(lambda self: not self.waiting)
    @rule()
    def close(self):
        """Close the channel."""
        self.closed = True
        self.channel.close()

    def _settle_waiting(self):
        self._turn()
        moved = [r for r, task in self.waiting if task.done() and r not in self.lost]
        self.waiting = [(r, task) for r, task in self.waiting if not task.done()]
        self._come(moved)

    @invariant()
    def balances(self):
        """Nothing is in two places, nothing is nowhere, and the counters agree."""
        if not hasattr(self, "channel"):
            return
        s = self.channel.statistics()
        assert s.offered == s.taken + s.shed + s.expired + s.cancelled + s.buffered
        assert (s.taken, s.buffered, s.waiting_senders) == (len(self.taken), len(self.buffered), len(self.waiting))
        assert s.shed + s.expired + s.cancelled == len(self.lost)
        assert len(self.sent) == s.offered + s.waiting_senders
        assert s.buffered <= self.channel.edge.capacity
        assert len(list(self.channel._buffer)) == s.buffered
        assert s.buffered <= s.max_depth <= self.channel.edge.capacity

    def teardown(self):
        """Let go of the senders that still wait."""
        if hasattr(self, "channel"):
            self.channel.abandon()
        self._turn()
        self.loop.close()


ChannelMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestChannel = ChannelMachine.TestCase
