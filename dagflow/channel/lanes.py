"""Lanes: records of one session go to one of several receivers, in order.

The capacity is the channel's, shared by all lanes, and shedding acts on all of them. A session
keeps its lane for as long as the number of lanes does not change; a record without one goes to
the lane whose turn it is.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from dagflow.channel.channel import Channel
from dagflow.errors import EndOfStream, WouldBlock
from dagflow.shares import bucket_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.context import ChannelLinks
    from dagflow.graph.plan import EdgePlan
    from dagflow.record import Record


class LaneOrder:
    """First in, first out in each lane; over all lanes the order of arrival."""

    __slots__ = ("_arrived", "_count", "_turn", "lanes", "last")

    def __init__(self, count: int) -> None:
        self.lanes: list[deque[tuple[int, Record]]] = [deque() for _ in range(count)]
        self.last = 0  # the lane of the record that came last
        self._arrived = 0
        self._count = 0
        self._turn = 0  # the lane of the record without a session that came last

    def push(self, record: Record) -> None:
        """Put a record into the lane of its session, or into the next one."""
        lanes, session = self.lanes, record.session
        self._arrived += 1
        if session is None:
            self.last = self._turn = (self._turn + 1) % len(lanes)
        else:
            self.last = bucket_of(session, len(lanes))
        lanes[self.last].append((self._arrived, record))
        self._count += 1

    def pop(self) -> Record:
        """Give the record that came first.

        Raises:
            IndexError: there is none.
        """
        return self.pop_from(min(filter(None, self.lanes), key=lambda lane: lane[0][0], default=self.lanes[0]))

    def pop_from(self, lane: deque[tuple[int, Record]]) -> Record:
        """Give the next record of a lane.

        Raises:
            IndexError: there is none.
        """
        record = lane.popleft()[1]
        self._count -= 1
        return record

    def remove(self, record: Record) -> None:
        """Take out a record that is in it."""
        lane, entry = next((lane, entry) for lane in self.lanes for entry in lane if entry[1] is record)
        lane.remove(entry)
        self._count -= 1

    def oldest(self) -> Record:
        """The record that has been here longest."""
        return min(lane[0] for lane in self.lanes if lane)[1]

    def lowest(self) -> Record:
        """The record of lowest priority; of several, the one that came last."""
        return min(self._entries(), key=lambda entry: (entry[1].priority, -entry[0]))[1]

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Record]:
        return (record for _, record in sorted(self._entries(), key=lambda entry: entry[0]))

    def _entries(self) -> Iterator[tuple[int, Record]]:
        return (entry for lane in self.lanes for entry in lane)


class LaneChannel(Channel):
    """A channel that several receivers empty, each its own lane."""

    __slots__ = ("_bells",)

    def __init__(self, edge: EdgePlan, links: ChannelLinks) -> None:
        super().__init__(edge, links, LaneOrder(len(links.lanes)))
        self._bells = links.lanes

    def receive_nowait_from(self, index: int) -> Record:
        """Hand out the next record of one lane; raises as `receive_nowait`."""
        lane = self._buffer.lanes[index]
        while lane:
            record = self._buffer.pop_from(lane)
            if self._is_late(record):
                continue
            self.taken += 1
            if self._senders:
                self._admit()
            return record
        raise (EndOfStream if self._closed else WouldBlock)

    def close(self) -> None:
        """Take nothing more in, and tell all lanes."""
        super().close()
        for bell in self._bells:
            bell.ring_all()

    def lane_depth(self, index: int) -> int:
        """How many records are in a lane."""
        return len(self._buffer.lanes[index])

    def is_lane_ended(self, index: int) -> bool:
        """Whether nothing is in a lane and nothing will come."""
        return self._closed and not self._buffer.lanes[index]

    def _put(self, record: Record) -> None:
        super()._put(record)
        self._bells[self._buffer.last].ring()


class Lane:
    """One lane of a channel; has the receiving half of `Channel`."""

    __slots__ = ("_channel", "_index")

    def __init__(self, channel: LaneChannel, index: int) -> None:
        self._channel = channel
        self._index = index

    @property
    def depth(self) -> int:
        """How many records are in it."""
        return self._channel.lane_depth(self._index)

    @property
    def is_ended(self) -> bool:
        """Whether nothing is in it and nothing will come."""
        return self._channel.is_lane_ended(self._index)

    def receive_nowait(self) -> Record:
        """Hand out the next record; raises as `Channel.receive_nowait`."""
        return self._channel.receive_nowait_from(self._index)
