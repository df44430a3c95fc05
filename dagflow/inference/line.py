"""Line: those who wait for a call, the most urgent first.

Whoever has waited for `AGEING_S` counts as much as who came now with one priority more, so that nobody
waits for ever; it is the order of the edges with `order = "priority"`.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from itertools import count
from typing import TYPE_CHECKING, Any

from dagflow.graph.plan import AGEING_S

if TYPE_CHECKING:
    from collections.abc import Iterator


class Waiter:
    """One who waits, for as long as `told` is not done."""

    __slots__ = ("call", "rank", "told")

    def __init__(self, call: Any, rank: tuple[float, int]) -> None:
        self.call = call
        self.rank = rank
        self.told: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tell(self, error: Exception | None) -> bool:
        """Say that it may go on, or why not; give whether it was still waiting."""
        if self.told.done():
            return False
        if error is None:
            self.told.set_result(None)
        else:
            self.told.set_exception(error)
        return True


class Line:
    """The waiters in their order."""

    __slots__ = ("_count", "_waiters")

    def __init__(self) -> None:
        self._waiters: list[Waiter] = []
        self._count = count()

    def join(self, call: Any, priority: float, now_s: float) -> Waiter:
        """Stand in line."""
        waiter = Waiter(call, (now_s - priority * AGEING_S, next(self._count)))
        insort(self._waiters, waiter, key=lambda other: other.rank)
        return waiter

    def drop(self, waiter: Waiter) -> bool:
        """Leave the line; give whether it stood there."""
        if waiter not in self._waiters:
            return False
        self._waiters.remove(waiter)
        return True

    def __len__(self) -> int:
        return len(self._waiters)

    def __iter__(self) -> Iterator[Waiter]:
        return iter(self._waiters)
