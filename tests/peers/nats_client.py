"""A client of NATS for tests: makes streams, fills them, and looks into them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import nats
from nats.js.api import StorageType
from nats.js.errors import NoStreamResponseError

from dagflow.mesh.nats.sockets import Socket


class Client:
    """A connection of the test's own."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.js = client.jetstream(timeout=10)

    async def make(self, name: str = "S", subjects: tuple[str, ...] = ("s.>",), **more: Any) -> None:
        """Make a stream in a file."""
        await self.js.add_stream(name=name, subjects=list(subjects), storage=StorageType.FILE, **more)

    async def fill(self, count: int, subject: str = "s.x", start: int = 0) -> None:
        """Publish texts `0`, `1`, ..."""
        for number in range(start, start + count):
            await self._publish(subject, b"%d" % number)

    async def _publish(self, subject: str, payload: bytes) -> None:
        async with asyncio.timeout(20):
            while True:
                try:
                    await self.js.publish(subject, payload)
                    return
                except NoStreamResponseError:  # the stream's leader has not been elected yet
                    await asyncio.sleep(0.01)

    async def messages(self, stream: str = "S") -> list[Any]:
        """Give all messages of a stream, in order."""
        state = (await self.js.stream_info(stream)).state
        return [await self.js.get_msg(stream, number) for number in range(state.first_seq, state.last_seq + 1)]

    async def count(self, stream: str = "S") -> int:
        """How many messages a stream has."""
        return (await self.js.stream_info(stream)).state.messages

    async def open_messages(self, consumer: str = "c", stream: str = "S") -> tuple[int, int]:
        """How many messages a consumer has still to deliver, and how many were delivered and not acknowledged."""
        found = await self.js.consumer_info(stream, consumer)
        return found.num_pending, found.num_ack_pending


@asynccontextmanager
async def client_of(server: Any):
    """Connect for the block; a connection that is lost is there again as soon as it can be."""
    connection = nats.NATS()
    connection._transport = Socket()
    try:
        settings: dict[str, Any] = {"max_reconnect_attempts": -1, "reconnect_time_wait": 0.05, "error_cb": _quiet}
        await connection.connect(server.url, **settings)
        yield Client(connection)
    finally:
        async with asyncio.timeout(2):
            await connection.close()  # else it would connect again
        connection._transport.abort()
        await asyncio.sleep(0)


async def _quiet(error: Exception) -> None:
    """Say nothing of a lost connection: the test has cut it."""
