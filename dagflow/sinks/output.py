"""Outputs: what takes whole lines without blocking the event loop.

A regular file never makes its writer wait for a reader, and is written at once; a line that did
not fit on the disk is taken back. What it held before is left alone until the first line comes, so
that a run that does not start has changed nothing. A pipe or terminal is written only when it has
room, in pieces that fit: that needs neither threads nor `O_NONBLOCK`, which everybody who shares the
pipe would feel. A line counts as written when the operating system has all of it.

Invariant: lines never mix, and none follows the torn half of another.
"""

from __future__ import annotations

import os
import select
import stat
from asyncio import Lock
from typing import TYPE_CHECKING, Any, Final, Protocol, TextIO

from anyio import to_thread, wait_writable

from dagflow.errors import WriteFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Begin = Callable[[int], None]

PIECE: Final = select.PIPE_BUF  # bytes that a pipe with room takes without blocking


class Output(Protocol):
    """Takes whole lines."""

    def write(self, line: bytes) -> Coroutine[Any, Any, None] | None:
        """Write a line at once, or return what to await where it has to wait for room.

        Raises:
            WriteFailed: the operating system refused; awaiting may raise it, too.
        """

    def position(self) -> dict[str, Any] | None:
        """Give the position after all lines, or None where there is none."""

    async def sync(self) -> None:
        """Make all lines durable."""

    def close(self) -> None:
        """Let go of the descriptor; twice is fine."""


def build_output(fd: int, name: str, *, owned: bool, begin: Begin | None = None) -> Output:
    """Build the output that suits a descriptor.

    Args:
        name: what errors call it.
        owned: whether `close` closes it.
        begin: makes a regular file ready, before its first line or the first `sync`.
    """
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return FileOutput(fd, name, owned=owned, begin=begin)
    return StreamOutput(fd, name, owned=owned)


class FileOutput:
    """A regular file, written at its current position."""

    def __init__(self, fd: int, name: str, *, owned: bool, begin: Begin | None = None) -> None:
        self._fd = fd
        self._name = name
        self._owned = owned
        self._begin = begin

    def write(self, line: bytes) -> None:
        written = 0
        try:
            self._begin_once()
            written = os.write(self._fd, line)
            while written < len(line):
                written += os.write(self._fd, memoryview(line)[written:])
        except OSError as error:
            self._take_back(written)
            raise WriteFailed(self._name, error) from error

    def _begin_once(self) -> None:
        if self._begin is not None:
            self._begin(self._fd)
            self._begin = None

    def _take_back(self, written: int) -> None:
        """Cut off the part of a line, unless somebody else has written behind it."""
        position = os.lseek(self._fd, 0, os.SEEK_CUR)
        if os.fstat(self._fd).st_size == position:
            os.ftruncate(self._fd, position - written)
            os.lseek(self._fd, position - written, os.SEEK_SET)

    def position(self) -> dict[str, Any]:
        self._begin_once()
        return {"offset": os.lseek(self._fd, 0, os.SEEK_CUR)}

    async def sync(self) -> None:
        self._begin_once()
        await to_thread.run_sync(os.fsync, self._fd)

    def close(self) -> None:
        if self._owned:
            self._owned = False
            os.close(self._fd)


class StreamOutput:
    """A pipe, a terminal or another device: it can be full for as long as its reader likes."""

    def __init__(self, fd: int, name: str, *, owned: bool) -> None:
        self._fd = fd
        self._name = name
        self._owned = owned
        self._blocking = os.get_blocking(fd)
        self._lock = Lock()
        self._torn: bytes | memoryview = b""  # the rest of a line whose beginning is out
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def write(self, line: bytes) -> Coroutine[Any, Any, None] | None:
        if self._lock.locked() or self._torn or len(line) > PIECE or not self._poll.poll(0):
            return self._write_in_turn(line)
        self._write_piece(line)
        return self._write_in_turn(b"") if self._torn else None

    async def _write_in_turn(self, line: bytes) -> None:
        async with self._lock:
            await self._complete()
            if line:
                # Cancelled while it waits, a line that has not begun leaves nothing behind.
                await self._wait_for_room()
                self._write_piece(line)
                await self._complete()

    async def _complete(self) -> None:
        while self._torn:
            await self._wait_for_room()
            self._write_piece(self._torn)

    async def _wait_for_room(self) -> None:
        if not self._poll.poll(0):
            await wait_writable(self._fd)

    def _write_piece(self, line: bytes | memoryview) -> None:
        try:
            written = os.write(self._fd, memoryview(line)[:PIECE])
        except BlockingIOError:  # whoever shares it has made it non-blocking
            written = 0
        except OSError as error:
            self._torn = b""
            raise WriteFailed(self._name, error) from error
        self._torn = memoryview(line)[written:]

    def position(self) -> None:
        return None

    async def sync(self) -> None:
        pass

    def close(self) -> None:
        if self._owned:
            self._owned = False
            os.close(self._fd)
        elif self._fd >= 0:
            # uvloop makes every descriptor that it waits for non-blocking.
            os.set_blocking(self._fd, self._blocking)
        self._fd = -1


class TextOutput:
    """A text file without a descriptor, such as the standard output of a notebook."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, line: bytes) -> None:
        self._file.write(line.decode())
        self._file.flush()

    def position(self) -> None:
        return None

    async def sync(self) -> None:
        pass

    def close(self) -> None:
        """Do nothing: the file is the program's own."""
