"""Channel: a bounded queue between one node's output and another node's input.

Ownership: `send` and `send_nowait` take the record over at the call. From then on the channel either hands it
out once, or loses it once and tells `on_lost`. Only a closed channel takes nothing, and raises `EndOfStream`.

Nothing here yields to the event loop unless it must wait. Nobody overtakes a waiting sender.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from dagflow.channel.fifo import Fifo
from dagflow.channel.orders import build_order
from dagflow.channel.policies import POLICIES
from dagflow.channel.reasons import ABANDONED, BLOCK_TIMEOUT, CANCELLED, MAX_WAIT, TOO_LARGE
from dagflow.channel.sending import Sending
from dagflow.channel.statistics import ChannelStatistics, payload_bytes
from dagflow.errors import EndOfStream, WouldBlock
from dagflow.record import Outcome

if TYPE_CHECKING:
    from dagflow.context import ChannelLinks
    from dagflow.graph.plan import EdgePlan
    from dagflow.record import Record, Ticket


class Channel:
    """One edge at work. Counters are public to read, not to write."""

    __slots__ = (
        "_abandoned",
        "_buffer",
        "_bytes",
        "_checks",
        "_closed",
        "_limit",
        "_links",
        "_policy",
        "_pop",
        "_push",
        "_receivers",
        "_senders",
        "_waiting",
        "cancelled",
        "edge",
        "expired",
        "marks",
        "max_depth",
        "offered",
        "shed_reasons",
        "taken",
    )

    def __init__(self, edge: EdgePlan, links: ChannelLinks, order: Any = None) -> None:
        """Build the live form of an edge; `order` holds what waits, as the edge says by default."""
        self.edge = edge
        self._links = links
        self._policy = POLICIES[edge.when_full]
        self._buffer = build_order(edge) if order is None else order
        self._push, self._pop = self._buffer.push, self._buffer.pop
        self._receivers, self._waiting = links.receivers, links.receivers.waiting
        self._senders: deque[Sending] = deque()
        self._closed = self._abandoned = False
        self._bytes = 0
        # Whether each record is marked on its way in, and looked at on its way out.
        self.marks = links.marks
        demanding = edge.max_bytes is not None or edge.max_wait_s is not None or self.marks
        self._checks = demanding or not isinstance(self._buffer, Fifo)
        self._set_limit()
        self.offered = self.taken = self.expired = self.cancelled = self.max_depth = 0
        self.shed_reasons: dict[str, int] = {}

    @property
    def room(self) -> int:
        """How many records it would take now without losing one; below 0 for each sender that waits."""
        is_full = self.edge.max_bytes is not None and self._bytes >= self.edge.max_bytes
        return (0 if is_full else self.edge.capacity - len(self._buffer)) - len(self._senders)

    @property
    def depth(self) -> int:
        """How many records are in it."""
        return len(self._buffer)

    @property
    def is_ended(self) -> bool:
        """Whether nothing is in it and nothing will come."""
        return self._closed and not self._buffer

    def send_nowait(self, record: Record) -> None:
        """Take a record over without waiting.

        Raises:
            WouldBlock: the channel is full and its policy is to wait; the record is still the
                caller's.
            EndOfStream: the channel is closed; the record is still the caller's.
        """
        depth = len(self._buffer)
        if depth >= self._limit:
            self._send_checked(record)
            return
        self._push(record)
        self.offered += 1
        if depth >= self.max_depth:
            self.max_depth = depth + 1
        if self._waiting:
            self._receivers.rouse()

    async def send(self, record: Record) -> None:
        """Take a record over, waiting for room where the policy is to wait.

        Cancelled while it waits, it ends the record as cancelled. A wait longer than the
        edge's `block_timeout` sheds it.

        Raises:
            EndOfStream: the channel is closed; the record is still the caller's.
        """
        try:
            self.send_nowait(record)
        except WouldBlock:
            await self._wait_to_send(record)

    def receive_nowait(self) -> Record:
        """Hand out the next record; those that came too late are lost on the way to it.

        Raises:
            WouldBlock: there is none now.
            EndOfStream: there is none, and none will come.
        """
        while True:
            try:
                record = self._pop()
            except IndexError:
                raise (EndOfStream if self._closed else WouldBlock) from None
            if (self._checks or record.deadline is not None) and self._is_late(record):
                continue
            self.taken += 1
            if self._senders:
                self._admit()
            return record

    async def receive(self) -> Record:
        """Hand out the next record, waiting for one.

        Raises:
            EndOfStream: none will come.
        """
        while True:
            try:
                return self.receive_nowait()
            except WouldBlock:
                await self._receivers.wait()
                if len(self._buffer) > 1:
                    self._receivers.rouse()

    def close(self) -> None:
        """Take nothing more in. What is buffered can still be received; twice is fine."""
        self._closed = True
        self._set_limit()
        self._receivers.ring_all()

    def cancel(self, ticket: Ticket) -> None:
        """Lose every record of this ticket, buffered or waiting to be sent."""
        for sending in [s for s in self._senders if s.record.ticket is ticket]:
            self._end_sending(sending, Outcome.CANCELLED, CANCELLED)
        for record in [r for r in self._buffer if r.ticket is ticket]:
            self._take_out(record, Outcome.CANCELLED, CANCELLED)
        self._admit()

    def abandon(self) -> None:
        """Lose everything in it and everything that will be sent to it; twice is fine."""
        self._abandoned = self._closed = True
        while self._senders:
            self._end_sending(self._senders[0], Outcome.CANCELLED, ABANDONED)
        while self._buffer:
            self._lose(self._pop(), Outcome.CANCELLED, ABANDONED)
        self._bytes = 0
        self.close()

    def statistics(self) -> ChannelStatistics:
        """Read the books."""
        return ChannelStatistics(
            capacity=self.edge.capacity,
            offered=self.offered,
            taken=self.taken,
            shed=sum(self.shed_reasons.values()),
            expired=self.expired,
            cancelled=self.cancelled,
            buffered=len(self._buffer),
            buffered_bytes=self._bytes,
            max_depth=self.max_depth,
            waiting_senders=len(self._senders),
            shed_reasons=dict(self.shed_reasons),
            oldest_at=min((record.queued_at for record in self._buffer), default=None) if self.marks else None,
        )

    def _set_limit(self) -> None:
        # The depth below which a send needs no further look. 0 sends every record the long way:
        # the channel is closed, senders wait who may not be overtaken, or records carry marks.
        plain = not (self._closed or self._senders or self._checks)
        self._limit = self.edge.capacity if plain else 0

    def _send_checked(self, record: Record) -> None:
        if self._abandoned:
            return self._refuse(record, Outcome.CANCELLED, ABANDONED)
        if self._closed:
            raise EndOfStream
        max_bytes = self.edge.max_bytes
        record.size_bytes = payload_bytes(record) if max_bytes is not None else 0
        if max_bytes is not None and record.size_bytes > max_bytes:
            return self._refuse(record, Outcome.SHED, TOO_LARGE)
        if self._policy is None and (self._senders or not self._has_room(record)):
            raise WouldBlock
        while not self._has_room(record):
            victim = self._policy(self._buffer, record)  # type: ignore[misc]
            if victim is record:
                return self._refuse(record, Outcome.SHED, self.edge.when_full)
            self._take_out(victim, Outcome.SHED, self.edge.when_full)
        self.offered += 1
        return self._put(record)

    def _has_room(self, record: Record) -> bool:
        most = self.edge.max_bytes
        return len(self._buffer) < self.edge.capacity and (most is None or self._bytes + record.size_bytes <= most)

    def _put(self, record: Record) -> None:
        if self._checks:
            record.queued_at = self._links.clock()
        self._bytes += record.size_bytes
        self._push(record)
        self.max_depth = max(self.max_depth, len(self._buffer))
        self._receivers.rouse()

    async def _wait_to_send(self, record: Record) -> None:
        sending = Sending(record, self.edge.block_timeout_s, self._on_block_timeout)
        self._senders.append(sending)
        self._set_limit()
        try:
            await sending.done
        except asyncio.CancelledError:
            # If the record went in before the cancellation arrived, it is on its way: leave it.
            if sending in self._senders:
                self._end_sending(sending, Outcome.CANCELLED, CANCELLED)
                self._admit()
            raise

    def _on_block_timeout(self, sending: Sending) -> None:
        self._end_sending(sending, Outcome.SHED, BLOCK_TIMEOUT)
        self._admit()

    def _end_sending(self, sending: Sending, outcome: Outcome, reason: str) -> None:
        """Lose a record whose sender waits; whoever calls this lets the next senders in."""
        self._senders.remove(sending)
        sending.release()
        self._refuse(sending.record, outcome, reason)

    def _admit(self) -> None:
        while self._senders and self._has_room(self._senders[0].record):
            sending = self._senders.popleft()
            self.offered += 1
            self._put(sending.record)
            sending.release()
        self._set_limit()

    def _is_late(self, record: Record) -> bool:
        """Settle accounts for a record that has been popped; lose it if it waited too long."""
        if self._checks:
            self._bytes -= record.size_bytes
        now = self._links.clock()
        if record.deadline is not None and now >= record.deadline:
            self._lose(record, Outcome.EXPIRED, "deadline")
        elif self.edge.max_wait_s is not None and now - record.queued_at > self.edge.max_wait_s:
            self._lose(record, Outcome.SHED, MAX_WAIT)
        else:
            return False
        self._admit()
        return True

    def _take_out(self, record: Record, outcome: Outcome, reason: str) -> None:
        self._buffer.remove(record)
        if self._checks:
            self._bytes -= record.size_bytes
        self._lose(record, outcome, reason)

    def _refuse(self, record: Record, outcome: Outcome, reason: str) -> None:
        """Lose a record that never came in; the books balance by the time that anybody is told."""
        self.offered += 1
        self._lose(record, outcome, reason)

    def _lose(self, record: Record, outcome: Outcome, reason: str) -> None:
        if outcome is Outcome.SHED:
            self.shed_reasons[reason] = self.shed_reasons.get(reason, 0) + 1
        elif outcome is Outcome.EXPIRED:
            self.expired += 1
        else:
            self.cancelled += 1
        self._links.on_lost(record, outcome, reason)
