"""Outbox: what the server is to be told, in order, by those who cannot wait until it is sent."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from dagflow.channel.doorbell import Doorbell
from dagflow.tasks import end

if TYPE_CHECKING:
    from dagflow.mesh.nats.connection import Connection

_SLICE: Final = 256  # messages that are sent without a turn of the event loop for others
_PAUSE_S: Final = 0.05  # while there is no connection, and its buffer is full


class Outbox:
    """Sends in a task of its own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._bell = Doorbell()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def open(self) -> None:
        """Begin to send."""
        self._task = asyncio.ensure_future(self._send())

    def put(self, subject: str, payload: bytes) -> None:
        """Send this in its turn."""
        self._waiting.append((subject, payload))
        self._bell.rouse()

    async def close(self, timeout_s: float) -> None:
        """Send what is left, if that takes no longer than this, in seconds."""
        task, self._task = self._task, None
        if task is None:
            return
        self._closing = True
        self._bell.ring()
        await asyncio.wait([task], timeout=timeout_s)
        await end(task)

    async def _send(self) -> None:
        while self._waiting or not self._closing:
            if not self._waiting:
                await self._bell.wait()
            for _ in range(min(_SLICE, len(self._waiting))):
                subject, payload = self._waiting[0]
                try:
                    await self._connection.client.publish(subject, payload)
                except Exception:  # there is no connection, and too much waits for it
                    await asyncio.sleep(_PAUSE_S)
                    break
                self._waiting.popleft()
            await asyncio.sleep(0)
