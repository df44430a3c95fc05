"""Offsets: which records of one partition are open, and up to where all of them are done.

Kafka knows one number for each partition and group: everything before it is done. So only what is contiguous may be
committed; a record that takes long holds back those behind it, however many of them are done.
"""

from __future__ import annotations

from collections import deque


class Offsets:
    """The open records of one partition, from its assignment until it is revoked.

    Attributes:
        closed: whether no more records may be handed in: the partition is about to be, or is, somebody else's.
    """

    __slots__ = ("_committed", "_done", "_next", "_opened", "closed")

    def __init__(self) -> None:
        self.closed = False
        self._opened: deque[int] = deque()
        self._done: set[int] = set()
        self._next: int | None = None  # behind the last record that was opened
        self._committed: int | None = None

    def open(self, offset: int) -> None:
        """Note a record that is handed in. Offsets grow, but need not be without gaps."""
        if self._next is None:
            self._committed = offset  # what lies before it is committed, or was never there
        self._opened.append(offset)
        self._next = offset + 1

    def finish(self, offset: int) -> None:
        """Note that an open record is done."""
        opened, done = self._opened, self._done
        if opened[0] != offset:
            done.add(offset)
            return
        opened.popleft()
        while opened and opened[0] in done:
            done.remove(opened.popleft())

    @property
    def span(self) -> int:
        """How many records were handed in from the first open one on; 0 where none is open."""
        return len(self._opened)

    @property
    def to_commit(self) -> int | None:
        """The offset before which everything is done; None where that has been committed."""
        found = self._opened[0] if self._opened else self._next
        return None if found == self._committed else found

    def note_committed(self, offset: int) -> None:
        """Note what was committed."""
        self._committed = offset
