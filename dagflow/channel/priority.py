"""ByPriority: the order `priority`: the most important record next, and waiting makes important.

A record counts as one priority higher for each `ageing_s` that it has waited. So it is overtaken
only by records of `d` priorities more that came less than `d * ageing_s` after it, and nothing
starves: once it has waited that long for the highest priority there is, whatever comes stands
behind it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.record import Record


class ByPriority:
    """A deque for each priority that is there, in the order of arrival; `queued_at` must be set."""

    __slots__ = ("_ageing_s", "_classes", "_count")

    def __init__(self, ageing_s: float) -> None:
        self._ageing_s = ageing_s
        self._classes: dict[float, deque[Record]] = {}
        self._count = 0

    def push(self, record: Record) -> None:
        """Put a record behind those of its priority."""
        waiting = self._classes.get(record.priority)
        if waiting is None:
            waiting = self._classes[record.priority] = deque()
        waiting.append(record)
        self._count += 1

    def pop(self) -> Record:
        """Give the record that counts most now.

        Raises:
            IndexError: there is none.
        """
        if not self._count:
            raise IndexError
        record = min((waiting[0] for waiting in self._classes.values()), key=self._rank)
        self._drop(record, 0)
        return record

    def remove(self, record: Record) -> None:
        """Take out a record that is in it."""
        self._drop(record, self._classes[record.priority].index(record))

    def oldest(self) -> Record:
        """The record that has been here longest."""
        return min((waiting[0] for waiting in self._classes.values()), key=lambda record: record.queued_at)

    def lowest(self) -> Record:
        """The record of lowest priority; of several, the one that came last."""
        return self._classes[min(self._classes)][-1]

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Record]:
        return iter(sorted((record for waiting in self._classes.values() for record in waiting), key=self._rank))

    def _rank(self, record: Record) -> tuple[float, float]:
        # The moment at which a record of priority 0 would have come that counts as much; it never changes.
        return record.queued_at - record.priority * self._ageing_s, -record.priority

    def _drop(self, record: Record, index: int) -> None:
        waiting = self._classes[record.priority]
        del waiting[index]
        if not waiting:
            del self._classes[record.priority]
        self._count -= 1
