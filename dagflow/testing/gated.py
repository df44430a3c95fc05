"""GatedSink: a sink that holds what it is given until the test lets go, for exact counts of back-pressure."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from dagflow.plugin import Sink

if TYPE_CHECKING:
    from dagflow.record import Record


class GatedSink(Sink):
    """Delivers a record only when it is let go.

    Attributes:
        taken: the ids of the records that were delivered, in that order.
        most_held: the most that ever waited at a time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[str] = []
        self.most_held = 0
        self._gates: deque[asyncio.Event] = deque()
        self._is_open = False
        self._came = asyncio.Event()

    @property
    def held(self) -> int:
        """How many writes wait now."""
        return len(self._gates)

    def writes(self) -> set[str]:
        """Add nothing to a record."""
        return set()

    async def write(self, record: Record) -> None:
        """Hold the record until it is let go."""
        if not self._is_open:
            await self._hold()
        self.taken.append(record.id)

    async def wait_held(self, count: int) -> None:
        """Wait until so many writes wait."""
        while self.held < count:
            self._came.clear()
            await self._came.wait()

    def release(self, count: int = 1) -> None:
        """Let so many of the held writes go, those that came first.

        Raises:
            ValueError: not so many are held.
        """
        if count > self.held:
            raise ValueError(f"{self.held} writes are held, so that {count} cannot be released")
        for _ in range(count):
            self._gates.popleft().set()

    def release_all(self) -> None:
        """Let go of all that is held, and hold nothing any more."""
        self._is_open = True
        self.release(self.held)

    async def _hold(self) -> None:
        gate = asyncio.Event()
        self._gates.append(gate)
        self.most_held = max(self.most_held, self.held)
        self._came.set()
        try:
            await gate.wait()
        except asyncio.CancelledError:
            if gate in self._gates:
                self._gates.remove(gate)
            raise
