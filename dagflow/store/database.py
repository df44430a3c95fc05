"""Database: opening a SQLite file that is a store of dagflow's, and nobody else's to read.

The file and those that SQLite keeps beside it are of mode 0600 before anything is in them. A commit is
durable when it has returned (`synchronous = FULL`). A file of another kind, or of a version that this
dagflow does not know, is refused and left as it is.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dagflow.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY_TIMEOUT_S: Final = 10.0
"""How long a statement waits for another process that writes, in seconds."""

_MODE: Final = 0o600
_SIDE_FILES: Final = ("", "-wal", "-shm", "-journal")
_MAGIC: Final = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of store.

    Attributes:
        application_id: marks its files, so that no other is taken for one.
        version: of the schema; to be raised when that changes.
        schema: the statements that make an empty one.
    """

    application_id: int
    version: int
    schema: str


def open_database(path: Path, kind: Kind, *, create: bool) -> sqlite3.Connection:
    """Open a store for this thread; transactions are begun and ended by hand.

    Args:
        create: whether a file that is not there is made.

    Raises:
        StoreError: it can't be opened, is something else, or is of an unknown version.
    """
    with naming(path):
        _prepare(path, create)
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None
        )
        try:
            _identify(connection, path, kind)
            _close_to_others(path)
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raise what the operating system or SQLite raises as a `StoreError` that names the store."""
    try:
        yield
    except OSError as error:
        raise StoreError(path, error.strerror or str(error)) from error
    except sqlite3.Error as error:
        raise StoreError(path, str(error)) from error


def _prepare(path: Path, create: bool) -> None:
    """Make the file, or look at what it is."""
    if not path.parent.is_dir():
        raise StoreError(path, f"there is no folder `{path.parent}`")
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    with os.fdopen(os.open(path, flags, _MODE), "rb", buffering=0) as file:
        start = file.read(len(_MAGIC))
    if start not in (b"", _MAGIC):
        raise StoreError(path, "the file is no database")
    if not start:
        _close_to_others(path)  # before anything is in it


def _close_to_others(path: Path) -> None:
    for side in _SIDE_FILES:  # SQLite gives those that it makes the mode of the database
        with suppress(FileNotFoundError):
            os.chmod(f"{path}{side}", _MODE)


def _identify(connection: sqlite3.Connection, path: Path, kind: Kind) -> None:
    # In one transaction: two processes may find the file empty at the same moment.
    connection.execute("BEGIN IMMEDIATE")
    application_id, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    is_empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application_id == 0 and is_empty:
        for statement in kind.schema.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {kind.application_id}")
        connection.execute(f"PRAGMA user_version = {kind.version}")
    elif application_id != kind.application_id:
        raise StoreError(path, "it is a database of something else")
    elif version != kind.version:
        raise StoreError(path, f"it is of version {version}, and this dagflow knows version {kind.version}")
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
