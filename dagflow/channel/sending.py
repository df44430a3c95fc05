"""Sending: a record whose sender waits at a full channel."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagflow.record import Record


class Sending:
    """One waiting record; `done` is set once it is in the channel, or lost."""

    __slots__ = ("done", "record", "timer")

    def __init__(self, record: Record) -> None:
        self.record = record
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.timer: asyncio.TimerHandle | None = None

    def release(self) -> None:
        """Let the sender go on."""
        if self.timer is not None:
            self.timer.cancel()
        if not self.done.done():
            self.done.set_result(None)
