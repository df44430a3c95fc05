"""Endings: the keys of all records of a run that have ended, on disk, so that a successor need not be told one by one.

They are in one file for each source, in a folder that goes with the run; the parent writes, a child reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

KEY_BYTES: Final = 20
"""The length of a key: a hash of the input, and its occurrence."""


class Endings:
    """What the parent writes.

    Attributes:
        folder: where it is, in the folder of the run.
    """

    def __init__(self, sources: Iterable[str], folder: Path) -> None:
        self.folder = folder / "endings"
        self.folder.mkdir()
        self._files: dict[str, BinaryIO] = {source: open(self.folder / source, "wb") for source in sources}  # noqa: SIM115

    def add(self, source: str, key: bytes) -> None:
        """Note that a record has ended."""
        self._files[source].write(key)

    def flush(self) -> None:
        """Let it be read."""
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        """Write no more; twice is fine."""
        for file in self._files.values():
            file.close()


def read_endings(folder: Path, source: str) -> Iterator[bytes]:
    """Read the keys of one source."""
    with open(folder / source, "rb") as file:
        while len(key := file.read(KEY_BYTES)) == KEY_BYTES:
            yield key
