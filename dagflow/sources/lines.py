"""Lines: reads a file in blocks and splits them, with memory bounded by the longest allowed line.

The event loop never waits for a disk or for whoever writes into a pipe: regular files are read in
a worker thread, pipes and terminals when they have something. A thread that sits in a read of a
pipe could not be cancelled, and would keep the program from ending.
"""

from __future__ import annotations

import os
import stat
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from anyio import to_thread, wait_readable

from dagflow.errors import PluginError
from dagflow.sources.files import check_beginning

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BLOCK: Final = 256 * 1024  # larger ones are no faster
STDIN: Final = 0


class LineSplitter:
    """Puts lines together from blocks. A line is None where it was longer than `max_line` bytes."""

    def __init__(self, max_line: int) -> None:
        self._max_line = max_line
        self._begun: list[bytes] = []  # the pieces of a line whose end has not come
        self._size = 0

    def split(self, block: bytes) -> list[bytes | None]:
        """Take a block and return the lines that end in it, without their line feeds."""
        first, *others = block.split(b"\n")
        self._begin(first)
        if not others:
            return []
        line, rest = self._end(), others.pop()
        self._begin(rest)
        return [line, *(other if len(other) <= self._max_line else None for other in others)]

    def end(self) -> list[bytes | None]:
        """Return the last line, where the file does not end with a line feed."""
        return [self._end()] if self._size else []

    def _begin(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._max_line:
            self._begun.clear()
        else:
            self._begun.append(piece)

    def _end(self) -> bytes | None:
        line = b"".join(self._begun) if self._size <= self._max_line else None
        self._begun.clear()
        self._size = 0
        return line


async def read_lines(path: Path, max_line: int) -> AsyncIterator[list[bytes | None]]:
    """Iterate over the lines of a file, some at a time; `-` is the standard input.

    Raises:
        PluginError: the file can't be opened or read, or holds no text.
    """
    name = "stdin" if str(path) == "-" else str(path)
    splitter = LineSplitter(max_line)
    first = True
    try:
        async with aclosing(_read_blocks(path)) as blocks:
            async for block in blocks:
                if first:
                    check_beginning(block, name)
                    first = False
                yield splitter.split(block)
    except OSError as error:
        raise PluginError(f"`{name}` can't be read: {error.strerror}") from error
    yield splitter.end()


async def _read_blocks(path: Path) -> AsyncIterator[bytes]:
    fd = STDIN if str(path) == "-" else await _open(path)
    blocking = os.get_blocking(fd)
    waits = _makes_wait(fd)
    try:
        while block := await (_read_when_ready(fd) if waits else to_thread.run_sync(os.read, fd, BLOCK)):
            yield block
    finally:
        if fd == STDIN:
            os.set_blocking(fd, blocking)  # uvloop changes it, for all who share the terminal
        else:
            os.close(fd)


async def _open(path: Path) -> int:
    # In a thread, which is left behind where this is cancelled: a named pipe opens only when somebody writes it.
    return await to_thread.run_sync(os.open, path, os.O_RDONLY, abandon_on_cancel=True)


async def _read_when_ready(fd: int) -> bytes:
    while True:
        await wait_readable(fd)
        try:
            return os.read(fd, BLOCK)
        except BlockingIOError:  # somebody else who shares it was faster
            continue


def _makes_wait(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)
