"""ByDeadline: the order `deadline`: the record whose deadline comes first; those without one last."""

from __future__ import annotations

from bisect import insort
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.record import Record


class ByDeadline:
    """A sorted list whose end is the next record; of one deadline, the first that came."""

    __slots__ = ("_count", "_sorted")

    def __init__(self) -> None:
        self._sorted: list[tuple[float, int, Record]] = []
        self._count = 0

    def push(self, record: Record) -> None:
        """Put a record where its deadline belongs."""
        self._count += 1
        deadline = inf if record.deadline is None else record.deadline
        insort(self._sorted, (-deadline, -self._count, record))

    def pop(self) -> Record:
        """Give the record whose deadline comes first.

        Raises:
            IndexError: there is none.
        """
        return self._sorted.pop()[2]

    def remove(self, record: Record) -> None:
        """Take out a record that is in it."""
        del self._sorted[next(i for i, (_, _, other) in enumerate(self._sorted) if other is record)]

    def oldest(self) -> Record:
        """The record that has been here longest."""
        return max(self._sorted, key=lambda entry: entry[1])[2]

    def lowest(self) -> Record:
        """The record of lowest priority; of several, the one that came last."""
        return min(self._sorted, key=lambda entry: (entry[2].priority, entry[1]))[2]

    def __len__(self) -> int:
        return len(self._sorted)

    def __iter__(self) -> Iterator[Record]:
        return (record for _, _, record in reversed(self._sorted))
