"""Doorbell: wakes those who wait for something to have changed, one for each ring.

Who wakes looks again and may find nothing, since somebody who did not wait may have been
faster. A ring is never lost: a waiter that is cancelled after its ring passes the ring on.

`rouse` is for those who wake each other: it wakes nobody while one is on its way, who finds what has come since, and
rouses the next if there is more than one can take.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Doorbell:
    """Waiters in the order of their arrival. `waiting` is public for the test `if bell.waiting`."""

    __slots__ = ("_coming", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[asyncio.Future[None]] = deque()
        self._coming = 0  # those who were woken and have not run yet

    def rouse(self) -> None:
        """Wake the one who has waited longest, unless somebody is on the way."""
        if not self._coming:
            self.ring()

    def ring(self) -> None:
        """Wake the one who has waited longest, if anybody waits."""
        waiting = self.waiting
        while waiting:
            waiter = waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                self._coming += 1
                return

    def ring_all(self) -> None:
        """Wake all who wait now."""
        for _ in range(len(self.waiting)):
            self.ring()

    async def wait(self) -> None:
        """Wait for a ring."""
        waiter = asyncio.get_running_loop().create_future()
        self.waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._forget(waiter)
            else:
                self._coming -= 1
                self.ring()
            raise
        self._coming -= 1

    def _forget(self, waiter: asyncio.Future[None]) -> None:
        try:
            self.waiting.remove(waiter)
        except ValueError:
            return
