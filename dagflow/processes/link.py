"""Link: messages between two processes over a stream socket, many in one frame.

A frame is its length in four bytes, and an array of messages. What is sent within one turn of the event loop goes in
one frame; whoever sends a lot awaits `drained`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from dagflow.processes.packing import decoder_of, encode

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from msgspec import Struct

_ARRAY: Final = b"\xdd"  # of MessagePack, with its length in four bytes


class Link(asyncio.Protocol):
    """One end.

    Args:
        kinds: the union of the messages that come.
        on_message: told of each; on_lost: told once that no more will come.
    """

    def __init__(self, kinds: Any, on_message: Callable[[Any], None], on_lost: Callable[[], None]) -> None:
        self._decode = decoder_of(list[kinds]).decode
        self._on_message = on_message
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._out: list[bytes] = []
        self._in = bytearray()
        self._room = asyncio.Event()
        self._room.set()
        self.is_lost = False

    async def open(self, sock: socket.socket) -> None:
        """Begin to send and to receive."""
        sock.setblocking(False)
        await self._loop.create_connection(lambda: self, sock=sock)

    def send(self, message: Struct) -> None:
        """Send a message soon, behind all that were sent before; nothing happens where the other end is gone.

        Raises:
            TypeError, ValueError, OverflowError, RecursionError: a value in it cannot travel.
        """
        packed = encode(message)
        if not self._out:
            self._loop.call_soon(self.flush)
        self._out.append(packed)

    def flush(self) -> None:
        """Hand over to the operating system what has been sent."""
        if not self._out or self._transport is None:
            return
        out, self._out = self._out, []
        size = 5 + sum(map(len, out))
        if not self.is_lost:
            head = size.to_bytes(4, "big") + _ARRAY + len(out).to_bytes(4, "big")
            self._transport.write(b"".join((head, *out)))

    async def drained(self) -> None:
        """Wait until the other end has taken most of what was sent, or is gone."""
        await self._room.wait()

    def close(self) -> None:
        """Send what is left, then close; twice is fine."""
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self._transport = transport
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Take what came apart, and tell of each message."""
        buffer = self._in
        buffer += data
        at = 0
        while len(buffer) - at >= 4:
            end = at + 4 + int.from_bytes(buffer[at : at + 4], "big")
            if len(buffer) < end:
                break
            messages = self._decode(bytes(buffer[at + 4 : end]))
            at = end
            for message in messages:
                self._on_message(message)
        if at:
            del buffer[:at]

    def pause_writing(self) -> None:
        """Let senders wait."""
        self._room.clear()

    def resume_writing(self) -> None:
        """Let them go on."""
        self._room.set()

    def connection_lost(self, error: BaseException | None) -> None:
        """Tell that it is over."""
        self.is_lost = True
        self._room.set()
        self._on_lost()
