"""Sockets: the TCP connections of a client of nats-py, none of which is left to the garbage collector.

That library drops its socket where an attempt is cut off at the wrong moment, and where the next attempt follows one
that was refused. Imports the library.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from nats.aio.transport import TcpTransport

if TYPE_CHECKING:
    from urllib.parse import ParseResult


class Socket(TcpTransport):
    """One connection at a time."""

    def __bool__(self) -> bool:  # the library makes another one where this is false
        return True

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: float) -> None:
        """Connect anew."""
        self.abort()
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=buffer_size)
        # Not `asyncio.wait_for`, which loses a connection that is there in the moment in which it is cancelled.
        async with asyncio.timeout(connect_timeout):
            transport, protocol = await loop.create_connection(
                lambda: asyncio.StreamReaderProtocol(reader), uri.hostname, uri.port
            )
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        self._bare_io_reader = self._io_reader = reader
        self._bare_io_writer = self._io_writer = writer

    def abort(self) -> None:
        """Close what is open in the next turn of the event loop, without a farewell; twice is fine."""
        for writer in (self._io_writer, self._bare_io_writer):
            if writer is not None:
                writer.transport.abort()
