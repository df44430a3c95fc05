"""Gathering: what one join has of one ticket, and what it may still get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from dagflow.errors import RecordError
    from dagflow.record import Outcome, Record


class Gathering:
    """The branches of one record at one join.

    Attributes:
        coming: live branches that may still come.
        arrived: by the position of their edge.
        lost: the outcomes and errors of those that will not come.
        base: the fields before the first fork; what differs from it is what a branch has written.
        done: whether the join has gone on; what comes then is late.
    """

    __slots__ = ("arrived", "base", "coming", "done", "lost", "seen", "timer")

    def __init__(self) -> None:
        self.coming = 1
        self.arrived: dict[int, Record] = {}
        self.seen: set[int] = set()
        self.lost: list[tuple[Outcome | None, RecordError | None]] = []
        self.base: Mapping[str, Any] | None = None
        self.done = False
        self.timer: asyncio.TimerHandle | None = None
