"""Segments: the files of a spool, as they are read.

A segment begins with a mark; an entry is its length, a checksum, and its bytes. An entry that is torn, or whose
checksum is wrong, is never given to anybody: it ends its segment, and is told as `Damage`.
"""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

from dagflow.claims import check_unclaimed
from dagflow.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.graph.plan import EdgePlan

MAGIC: Final = b"dagflow spill 1\n"
CURSOR: Final = "cursor"

HEAD: Final = struct.Struct("<II")
_POSITION: Final = struct.Struct("<Q")
_OFFSET_BITS: Final = 40
_NAME: Final = re.compile(r"(\d{8})\.segment")


class Damage(NamedTuple):
    """What of a segment cannot be read: from an offset to its end."""

    path: Path
    offset: int
    size: int

    def __str__(self) -> str:
        return f"`{self.path}` is damaged at offset {self.offset}: its last {self.size} bytes cannot be read"


class Inspection(NamedTuple):
    """What is in a folder.

    Attributes:
        segments, size: how many segments, and their bytes, which are 0 while it is in use.
        records: how many entries have not been taken out.
        damages: what cannot be read.
        in_use: whether a run has it; then its entries were not read.
    """

    segments: int = 0
    size: int = 0
    records: int = 0
    damages: tuple[Damage, ...] = ()
    in_use: bool = False


def folder_of(edge: EdgePlan) -> Path:
    """Give the folder of an edge that spills."""
    return edge.spill.path / f"{edge.origin}+{edge.target}"


def inspect(folder: Path) -> Inspection:
    """Look at a folder, and change nothing.

    Raises:
        OSError: it can't be read.
    """
    if not folder.exists():
        return Inspection()
    with (folder / CURSOR if (folder / CURSOR).exists() else Path(os.devnull)).open("rb") as cursor:
        segments = {number: folder / segment_name(number) for number in sorted(find_segments(folder))}
        try:
            check_unclaimed(cursor.fileno(), folder)
        except PluginError:
            return Inspection(len(segments), in_use=True)
        begin = read_cursor(cursor.fileno())
        read = [(number, path, *found) for number, path in segments.items() for found in read_segment(path)]
    size = sum(path.stat().st_size for path in segments.values())
    damages = [Damage(path, at, path.stat().st_size - at) for _, path, at, entry in read if entry is None]
    records = sum(entry is not None and (number, at) >= begin for number, _, at, entry in read)
    return Inspection(len(segments), size, records, tuple(damages))


def segment_name(number: int) -> str:
    """Name a segment."""
    return f"{number:08d}.segment"


def find_segments(folder: Path) -> list[int]:
    """Give the numbers of the segments in a folder."""
    return [int(found[1]) for path in folder.iterdir() if (found := _NAME.fullmatch(path.name))]


def read_cursor(fd: int) -> tuple[int, int]:
    """Give the segment and the offset up to which entries were taken out."""
    data = os.pread(fd, _POSITION.size, 0)
    position = _POSITION.unpack(data)[0] if len(data) == _POSITION.size else 0
    return position >> _OFFSET_BITS, position & ((1 << _OFFSET_BITS) - 1)


def read_segment(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Iterate over the entries of a segment, with their offsets; None is what is damaged, and the last."""
    with path.open("rb") as file:
        magic = file.read(len(MAGIC))
        if magic != MAGIC:
            if magic:
                yield 0, None
            return
        while True:
            offset = file.tell()
            head = file.read(HEAD.size)
            if not head:
                return
            length = HEAD.unpack(head)[0] if len(head) == HEAD.size else 0
            entry = entry_of(head + file.read(min(length, os.fstat(file.fileno()).st_size)))
            yield offset, entry
            if entry is None:
                return


def entry_of(data: bytes) -> bytes | None:
    """Give the entry that some bytes are, head included; None if they are damaged."""
    if len(data) < HEAD.size:
        return None
    length, checksum = HEAD.unpack_from(data)
    entry = data[HEAD.size :]
    return entry if len(entry) == length and crc32(entry) == checksum else None


def position_of(segment: int, offset: int) -> bytes:
    """Give what the cursor holds, up to there."""
    return _POSITION.pack(segment << _OFFSET_BITS | offset)
