"""Gathering: what one join has of one ticket, and what it may still get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from dagflow.errors import RecordError
    from dagflow.record import Outcome, Record


class Gathering:
    """The branches of one record at one join. Made for each record, so it holds nothing before it must.

    Attributes:
        coming: live branches that may still come.
        arrived: the records, in the order of their edges; None before the first.
        seen: a bit for each edge over which one came.
        lost: the outcomes and errors of those that will not come.
        base: the fields before the first fork; what differs from it is what a branch has written.
        done: whether the join has gone on; what comes then is late.
        due: when the join goes on at the latest, on its clock.
        timer: of the record's deadline, if that comes before.
    """

    __slots__ = ("arrived", "base", "coming", "done", "due", "lost", "seen", "timer")

    def __init__(self) -> None:
        self.coming = 1
        self.arrived: list[Record | None] | None = None
        self.seen = 0
        self.lost: tuple[tuple[Outcome | None, RecordError | None], ...] = ()
        self.base: Mapping[str, Any] | None = None
        self.done = False
        self.due = 0.0
        self.timer: asyncio.TimerHandle | None = None

    def lose(self, outcome: Outcome | None, error: RecordError | None) -> None:
        """Note a branch that will not come; an outcome of None says that an error port has taken it."""
        self.lost = (*self.lost, (outcome, error))

    @property
    def records(self) -> list[Record]:
        """What has arrived, in the order of the edges."""
        return [record for record in self.arrived or () if record is not None]
