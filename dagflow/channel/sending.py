"""Sending: a record whose sender waits at a full channel."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagflow.record import Record


class Sending:
    """One waiting record; `done` is set once it is in the channel, or lost."""

    __slots__ = ("done", "record", "timer")

    def __init__(self, record: Record, most_s: float | None, on_timeout: Callable[[Sending], None]) -> None:
        loop = asyncio.get_running_loop()
        self.record = record
        self.done: asyncio.Future[None] = loop.create_future()
        self.timer = loop.call_later(most_s, on_timeout, self) if most_s is not None else None

    def release(self) -> None:
        """Let the sender go on."""
        if self.timer is not None:
            self.timer.cancel()
        if not self.done.done():
            self.done.set_result(None)
