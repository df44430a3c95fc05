"""Spool: entries of bytes on disk, first in, first out, in segments that are deleted once they have been read.

What is appended is with the operating system when `append` returns, so that it outlives the program, though not a loss
of power. `CURSOR` says up to where entries were taken out, in eight bytes that are written at once.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

from dagflow.claims import claim
from dagflow.errors import PluginError, StoreError
from dagflow.store.segments import (
    CURSOR,
    HEAD,
    MAGIC,
    Damage,
    entry_of,
    find_segments,
    position_of,
    read_cursor,
    read_segment,
    segment_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SEGMENTS: Final = 8  # into which what it may hold is divided
_LARGEST: Final = 64 << 20


class Location(NamedTuple):
    """Where an entry is: its segment, the offset of its head there, and how many bytes it has with it."""

    segment: int
    offset: int
    size: int


class Spool:
    """One folder of segments.

    Attributes:
        size: how many bytes its segments have.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Take the folder, and how many bytes its segments may have in all."""
        self.folder = folder
        self.size = 0
        self._max_bytes = max_bytes
        self._segment_bytes = min(max_bytes // _SEGMENTS, _LARGEST)
        self._sizes: dict[int, int] = {}  # of the segments that are there, the oldest first
        self._cursor = self._writing = -1
        self._reading = (-1, -1)  # a segment, and its descriptor

    def open(self) -> list[Damage]:
        """Make or claim the folder, and look at what is there.

        Raises:
            OSError, PluginError: the folder can't be made, read or written, or another run has it.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        cursor = os.open(self.folder / CURSOR, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            claim(cursor, self.folder)
            damages = self._look(cursor)
        except (OSError, PluginError):
            os.close(cursor)
            raise
        self._cursor = cursor
        return damages

    def entries(self) -> Iterator[tuple[Location, bytes]]:
        """Iterate over what has not been taken out, the oldest first."""
        begin = read_cursor(self._cursor)
        for number in self._sizes:
            for offset, entry in read_segment(self._path(number)):
                if entry is not None and (number, offset) >= begin:
                    yield Location(number, offset, HEAD.size + len(entry)), entry

    @property
    def has_room(self) -> bool:
        """Whether it may grow."""
        return self.size < self._max_bytes

    def append(self, entry: bytes) -> Location:
        """Add an entry.

        Raises:
            OSError: it could not be written; then nothing of it is there.
        """
        if self._writing < 0 or self._sizes[self._newest] >= self._segment_bytes:
            self._begin_segment()
        number = self._newest
        offset = self._sizes[number]
        data = HEAD.pack(len(entry), crc32(entry)) + entry
        _write(self._writing, data, offset)
        self._grow(number, len(data))
        return Location(number, offset, len(data))

    def read(self, location: Location) -> bytes:
        """Give an entry.

        Raises:
            OSError, StoreError: it can't be read, or is not what was written.
        """
        if self._reading[0] != location.segment:
            self._stop_reading()
            self._reading = location.segment, os.open(self._path(location.segment), os.O_RDONLY | os.O_CLOEXEC)
        data = os.pread(self._reading[1], location.size, location.offset)
        entry = entry_of(data)
        if entry is None:
            damage = Damage(self._path(location.segment), location.offset, location.size)
            raise StoreError(self.folder, str(damage), "the disk has lost it")
        return entry

    def take_out(self, location: Location) -> None:
        """Let go of an entry, and of all that came before it."""
        os.pwrite(self._cursor, position_of(location.segment, location.offset + location.size), 0)
        for number in [number for number in self._sizes if number < location.segment]:
            self._delete(number)

    def clear(self) -> None:
        """Let go of all entries."""
        self._stop_reading()
        for number in list(self._sizes)[: -1 if self._writing >= 0 else None]:
            self._delete(number)
        if not self._sizes:
            os.pwrite(self._cursor, position_of(0, 0), 0)
        for number in self._sizes:
            os.truncate(self._path(number), len(MAGIC))  # before the cursor goes back, so that nothing is read twice
            self.size += len(MAGIC) - self._sizes[number]
            self._sizes[number] = len(MAGIC)
            os.pwrite(self._cursor, position_of(number, 0), 0)

    def close(self) -> None:
        """Let go of the folder, and of all files if no entry is left in them; twice is fine."""
        if self._cursor < 0:
            return
        is_empty = next(self.entries(), None) is None
        self._stop_reading()
        for fd in (self._writing, self._cursor) if self._writing >= 0 else (self._cursor,):
            if is_empty and fd == self._cursor:
                for path in (*map(self._path, self._sizes), self.folder / CURSOR):
                    path.unlink(missing_ok=True)
                with suppress(OSError):
                    self.folder.rmdir()
            os.close(fd)
        self._cursor = self._writing = -1

    def _look(self, cursor: int) -> list[Damage]:
        found = sorted(find_segments(self.folder))
        if not found:  # it may be of segments that are gone; and what it needs on the disk it has from now on
            os.pwrite(cursor, position_of(0, 0), 0)
        self._sizes = {number: self._path(number).stat().st_size for number in found}
        self.size = sum(self._sizes.values())
        return [damage for number in found for damage in [self._damage(number)] if damage is not None]

    @property
    def _newest(self) -> int:
        return next(reversed(self._sizes), 0)

    def _path(self, number: int) -> Path:
        return self.folder / segment_name(number)

    def _begin_segment(self) -> None:
        number = self._newest + 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(self._path(number), flags, 0o600)
        try:
            _write(fd, MAGIC, 0)
        except OSError:
            os.close(fd)
            self._path(number).unlink()
            raise
        if self._writing >= 0:
            os.close(self._writing)
        self._writing = fd
        self._sizes[number] = 0
        self._grow(number, len(MAGIC))

    def _grow(self, number: int, size: int) -> None:
        self._sizes[number] += size
        self.size += size

    def _delete(self, number: int) -> None:
        if self._reading[0] == number:
            self._stop_reading()
        self._path(number).unlink(missing_ok=True)
        self.size -= self._sizes.pop(number)

    def _stop_reading(self) -> None:
        if self._reading[1] >= 0:
            os.close(self._reading[1])
        self._reading = -1, -1

    def _damage(self, number: int) -> Damage | None:
        path = self._path(number)
        for offset, entry in read_segment(path):
            if entry is None:
                return Damage(path, offset, self._sizes[number] - offset)
        return None


def _write(fd: int, data: bytes, offset: int) -> None:
    written = 0
    try:
        while written < len(data):
            written += os.pwrite(fd, data[written:], offset + written)
    except OSError:
        os.ftruncate(fd, offset)
        raise
