"""Overflow: an edge that puts what it has no room for on disk, in order, and loses nothing.

So many records wait in memory, those behind them in a spool: of these, memory holds the record without its fields. A
record that cannot be put there (the disk is full, or a value has no form in JSON) stays in memory, and counts as one of
those that may. Where neither has room, the edge is full, and its senders wait.
"""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Any

from dagflow.channel.channel import Channel
from dagflow.channel.reasons import ABANDONED, UNREADABLE
from dagflow.errors import DagflowError
from dagflow.record import Outcome
from dagflow.store.frozen import fields_of, freeze
from dagflow.store.segments import folder_of
from dagflow.store.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dagflow.context import ChannelLinks
    from dagflow.graph.plan import EdgePlan
    from dagflow.record import Record
    from dagflow.store.spool import Location


class Overflow:
    """First in, first out.

    Attributes:
        spool: where records go that find no room in memory; to be opened before the first one does.
        spilled: how many records went there.
        know: gives what is to be kept with a record on disk.
        on_trouble: told why a record could not be put on disk, or be read there.
        on_unreadable: told of a record that cannot be read any more; it is out then.
    """

    def __init__(self, capacity: int, spool: Spool, clock: Callable[[], float]) -> None:
        self.spool = spool
        self.spilled = 0
        self.know: Callable[[Record], dict[str, Any]] = lambda record: {}
        self.on_trouble: Callable[[str], None] = lambda reason: None
        self.on_unreadable: Callable[[Record], None] = lambda record: None
        self._capacity = capacity
        self._clock = clock
        self._head: deque[Record] = deque()
        self._tail: deque[tuple[Record, Location | None]] = deque()
        self._held = 0  # of the tail, without a location
        self._is_broken = False

    @property
    def has_room(self) -> bool:
        """Whether another record may come; that it has no form on disk is found out too late for one of them."""
        room = self.room
        return room > 0 or (room == 0 and self.spool.has_room and not self._is_broken)

    @property
    def room(self) -> int:
        """How many more records may wait in memory."""
        return self._capacity - len(self._head) - self._held

    def push(self, record: Record) -> None:
        """Put a record behind all others."""
        if not self._tail and self.room > 0:
            self._head.append(record)
            return
        location = self._put_on_disk(record)
        self._held += location is None
        self._tail.append((record, location))

    def restore(self, record: Record, location: Location) -> None:
        """Put a record behind all others that is in the spool already."""
        self._tail.append((record, location))

    def pop(self) -> Record:
        """Give the next record.

        Raises:
            IndexError: there is none.
        """
        while not self._head:
            record, location = self._tail.popleft()
            if location is None:
                self._held -= 1
                return record
            if self._take_from_disk(record, location):
                return record
            self.on_unreadable(record)
        return self._head.popleft()

    def remove(self, record: Record) -> None:
        """Take out a record that is in it; if it is on disk, without its fields."""
        if record in self._head:
            self._head.remove(record)
            return
        entry = next(entry for entry in self._tail if entry[0] is record)
        self._tail.remove(entry)
        location = entry[1]
        self._held -= location is None
        if location is not None and len(self._tail) == self._held:
            self._let_go(location)

    def leave(self) -> list[Record]:
        """Take out all that a later run goes on with, and leave it on disk, fields and all."""
        left = [record for record, location in self._tail if location is not None and record.ticket.mark is not None]
        gone = set(left)
        self._tail = deque(entry for entry in self._tail if entry[0] not in gone)
        return left

    def __len__(self) -> int:
        return len(self._head) + len(self._tail)

    def __iter__(self) -> Iterator[Record]:
        return chain(self._head, (record for record, _ in self._tail))

    def _put_on_disk(self, record: Record) -> Location | None:
        entry = freeze(record, self._clock, self.know(record))
        if entry is None or not self.spool.has_room:
            return None
        try:
            location = self.spool.append(entry)
        except OSError as error:
            self._is_broken = True
            self.on_trouble(f"`{self.spool.folder}` cannot be written: {error.strerror}")
            return None
        self._is_broken = False
        self.spilled += 1
        record.clear()
        return location

    def _take_from_disk(self, record: Record, location: Location) -> bool:
        self._is_broken = False  # it may have room again
        try:
            record.update(fields_of(self.spool.read(location)))
        except (OSError, DagflowError) as error:
            self.on_trouble(f"record `{record.id}` cannot be read any more: {error}")
            return False
        finally:
            self._let_go(location)
        return True

    def _let_go(self, location: Location) -> None:
        try:
            if len(self._tail) > self._held:
                self.spool.take_out(location)
            else:
                self.spool.clear()
        except OSError as error:  # the record is here; at worst, a run after a kill has it once more
            self.on_trouble(f"`{self.spool.folder}` cannot be written: {error.strerror}")


class SpillChannel(Channel):
    """A channel with an `Overflow`."""

    __slots__ = ()

    def __init__(self, edge: EdgePlan, links: ChannelLinks) -> None:
        buffer = Overflow(edge.capacity, Spool(folder_of(edge), edge.spill.max_bytes), links.clock)
        super().__init__(edge, links, buffer)
        buffer.on_unreadable = self._lose_unreadable

    @property
    def overflow(self) -> Overflow:
        """What holds its records."""
        return self._buffer

    @property
    def room(self) -> int:
        """How many records it would take now; one where only the disk has room, of which nobody knows for how many."""
        return (max(self._buffer.room, 0) or int(self._buffer.has_room)) - len(self._senders)

    def restore(self, record: Record, location: Location) -> None:
        """Take over a record that an earlier run left in the spool."""
        self._buffer.restore(record, location)
        record.queued_at, record.size_bytes = self._links.clock(), 0
        self.offered += 1
        self.max_depth = max(self.max_depth, self.depth)

    def abandon(self) -> None:
        """Lose everything in it; what a later run may go on with stays on disk."""
        for record in self._buffer.leave():
            self._lose(record, Outcome.CANCELLED, ABANDONED)
        super().abandon()

    def _has_room(self, record: Record) -> bool:
        return self._buffer.has_room

    def _lose_unreadable(self, record: Record) -> None:
        self._lose(record, Outcome.SHED, UNREADABLE)
