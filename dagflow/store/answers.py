"""Answers: the response cache, in memory or in a SQLite file that later runs go on with.

A cache is never the reason for a failure: an answer that can't be read is asked for again, and one that can't be
written is not kept; both are logged once. What is too old is not given, and what is too much goes, the oldest first.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dagflow.store.database import Kind, open_database
from dagflow.store.payload import pack, unpack
from dagflow.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from sqlite3 import Connection

    from dagflow.completion import Completion

ANSWERS: Final = Kind(
    application_id=0x64666163,
    version=1,
    schema="""
        CREATE TABLE answers (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            key BLOB NOT NULL UNIQUE,
            time REAL NOT NULL,
            answer TEXT NOT NULL
        );
        CREATE INDEX answers_by_time ON answers (time)
    """,
)


class Answers(ABC):
    """Whole completions by a key.

    Args:
        max_entries: the most that are kept.
        ttl_s: how long one is given, in seconds; None for ever.
        clock: the time of the day, in seconds.
    """

    def __init__(self, max_entries: int, ttl_s: float | None, clock: Callable[[], float] = time.time) -> None:
        self._max_entries = max_entries
        self._ttl_s = float("inf") if ttl_s is None else ttl_s
        self._clock = clock

    @abstractmethod
    async def get(self, key: bytes) -> Completion | None:
        """Give a copy of the answer that was kept under a key, unless it is too old."""

    @abstractmethod
    def put(self, key: bytes, answer: Completion) -> None:
        """Keep a whole answer in the place of any other; never waits."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what is under way."""


class MemoryAnswers(Answers):
    """Keeps answers until the end of the run; those that were not asked for longest go first."""

    def __init__(self, max_entries: int, ttl_s: float | None, clock: Callable[[], float] = time.time) -> None:
        super().__init__(max_entries, ttl_s, clock)
        self._answers: OrderedDict[bytes, tuple[float, Completion]] = OrderedDict()

    async def get(self, key: bytes) -> Completion | None:
        found = self._answers.get(key)
        if found is None or found[0] + self._ttl_s <= self._clock():
            self._answers.pop(key, None)
            return None
        self._answers.move_to_end(key)
        return found[1].with_text(found[1].text)

    def put(self, key: bytes, answer: Completion) -> None:
        self._answers[key] = self._clock(), answer.with_text(answer.text)
        self._answers.move_to_end(key)
        while len(self._answers) > self._max_entries:
            self._answers.popitem(last=False)

    async def close(self) -> None:
        self._answers.clear()


class StoredAnswers(Answers):
    """Keeps answers in a file, which other processes may use at the same time."""

    def __init__(
        self,
        path: Path,
        max_entries: int,
        ttl_s: float | None,
        log: Any,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(max_entries, ttl_s, clock)
        self._log = log
        self._complained = False
        self._writer = Writer(partial(open_database, path, ANSWERS, create=True))

    async def open(self) -> None:
        """Open the file.

        Raises:
            StoreError: it can't be, or is something else.
        """
        await self._writer.open()

    async def get(self, key: bytes) -> Completion | None:
        try:
            oldest_s = self._clock() - self._ttl_s
            text = await self._writer.ask(lambda connection: _read(connection, key, oldest_s))
            return None if text is None else unpack(text)["answer"]
        except Exception as error:
            self._complain(error)
            return None

    def put(self, key: bytes, answer: Completion) -> None:
        text, as_text = pack({"answer": answer})
        if not as_text:
            now_s = self._clock()
            self._writer.submit(lambda connection: self._write(connection, key, text, now_s), self._on_written)

    async def close(self) -> None:
        await self._writer.close()

    def _write(self, connection: Connection, key: bytes, text: str, now_s: float) -> None:
        row = (key, now_s, text)
        connection.execute("INSERT OR REPLACE INTO answers (key, time, answer) VALUES (?, ?, ?)", row)
        # Numbers only grow, so that no more than this many can be left.
        newest = connection.execute("SELECT max(id) FROM answers").fetchone()[0]
        connection.execute("DELETE FROM answers WHERE id <= ?", (newest - self._max_entries,))
        connection.execute("DELETE FROM answers WHERE time <= ?", (now_s - self._ttl_s,))

    def _on_written(self, result: Any, error: Exception | None) -> None:
        if error is not None:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            self._log.warning("the cache of answers does not work; calls are made instead", reason=str(error))


def _read(connection: Connection, key: bytes, oldest_s: float) -> str | None:
    row = connection.execute("SELECT answer FROM answers WHERE key = ? AND time > ?", (key, oldest_s)).fetchone()
    return None if row is None else row[0]
