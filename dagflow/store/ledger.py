"""Ledger: tells the records of one source apart, over runs: by a hash of their input, and its occurrence.

It lives in a database without a name, which SQLite keeps in memory as long as it is small, and in a temporary file
beyond that: neither what comes nor what came before makes the program grow.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_OCCURRENCE_BYTES: Final = 4
_COUNT: Final = "INSERT INTO seen VALUES (?, 0) ON CONFLICT DO UPDATE SET n = n + 1 RETURNING n"

_FIND: Final = "SELECT 1 FROM settled WHERE key = ?"


class Ledger:
    """The records of one source: which came in this run, and which had settled before it.

    Attributes:
        skipped: how many came that had settled before.
    """

    def __init__(self) -> None:
        # It is filled in a thread, and asked on the event loop, never both at a time.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for statement in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "CREATE TABLE seen (hash BLOB PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID",
            "CREATE TABLE settled (key BLOB PRIMARY KEY) WITHOUT ROWID",
            "BEGIN",
        ):
            self._database.execute(statement)
        self._execute = self._database.execute
        self._has_settled = False
        self.skipped = 0

    def fill(self, keys: Iterable[bytes]) -> int:
        """Take the keys of what has settled before; gives how many there are."""
        self._database.executemany("INSERT OR IGNORE INTO settled VALUES (?)", ((key,) for key in keys))
        [count] = self._execute("SELECT count(*) FROM settled").fetchone()
        self._has_settled = count > 0
        return count

    def admit(self, hash: bytes) -> bytes | None:
        """Count an input by its hash, and give its key; None if it had settled before."""
        [occurrence] = self._execute(_COUNT, (hash,)).fetchone()
        key = hash + occurrence.to_bytes(_OCCURRENCE_BYTES, "big")
        if self._has_settled and self._execute(_FIND, (key,)).fetchone():
            self.skipped += 1
            return None
        return key

    def has_settled(self, key: bytes) -> bool:
        """Whether a record of this key had settled before."""
        return self._has_settled and self._execute(_FIND, (key,)).fetchone() is not None

    def close(self) -> None:
        """Let go of the database; twice is fine."""
        self._database.close()
