"""Turns: how many may call a sink at a time, where two runs have it: one that ends, and the one in its place."""

from __future__ import annotations

from asyncio import Semaphore
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagflow.record import Record


class Turns:
    """So many at a time, in the order in which they ask."""

    def __init__(self, most: int) -> None:
        self._free = Semaphore(most)

    def wrap(self, call: Callable[[Record], Awaitable[Any]]) -> Callable[[Record], Awaitable[Any]]:
        """Give a call that waits for its turn."""

        async def call_in_turn(record: Record) -> Any:
            async with self._free:
                return await call(record)

        return call_in_turn
