"""Letters: the dead letters of one run, from the branch that ended to the disk.

A branch whose record is to be kept stays live until its letter is committed; only then is its
ticket told how it ended. So whoever learned of an outcome finds the letter, whatever happens next.
What waits for the disk is bounded by the records in flight.
"""

from __future__ import annotations

import asyncio
import sqlite3
from functools import partial
from time import time
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import anyio

from dagflow.channel.doorbell import Doorbell
from dagflow.completion import Completion
from dagflow.errors import OpenFailed, StoreError, describe
from dagflow.live_values import await_live
from dagflow.store.database import open_database
from dagflow.store.letter import Letter, Selection
from dagflow.store.letters import LETTERS, add_letter, count_letters, purge_letters, remove_letters
from dagflow.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dagflow.graph.plan import DeadLettersPlan

    End = Callable[[bool], None]

PURGE_EVERY_S: Final = 60.0
"""How often letters are looked for that are too old, in seconds."""

_MAKE_ROOM: Final = "`dagflow dlq replay` and `dagflow dlq purge` make room, and `max_records` allows more"


class Letters:
    """Keeps letters while a run lasts.

    Attributes:
        kept, purged: letters that this run added, and removed because of their age.
        in_store: how many there are, as far as is known; other processes may remove some.
        on_trouble: told why no more records can be taken in.
    """

    def __init__(self, plan: DeadLettersPlan, *, clock: Callable[[], float] = time, bounded: bool = True) -> None:
        """Take the plan and a clock of seconds since the epoch; `bounded` is whether its limits count."""
        self.clock = clock
        self.kept = self.purged = self.in_store = 0
        self.on_trouble: Callable[[str], None] = lambda reason: None
        self._plan = plan
        self._bounded = bounded
        self._writer = Writer(partial(open_database, plan.path, LETTERS, create=True))
        self._pending: dict[int, End] = {}
        self._numbers = self._keys = 0
        self._run = uuid4().hex
        self._bell = Doorbell()
        self._streams: set[asyncio.Future[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._counting = self._told_full = False

    async def open(self) -> None:
        """Open the store, and remove what is too old.

        Raises:
            OpenFailed: it can't be opened, or it is full.
        """
        try:
            await self._writer.open()
            await self._look()
        except sqlite3.Error as error:
            raise OpenFailed("dead_letters", StoreError(self._plan.path, str(error))) from error
        except StoreError as error:
            raise OpenFailed("dead_letters", error) from error
        if self._is_full:
            raise OpenFailed("dead_letters", StoreError(self._plan.path, self._fullness, _MAKE_ROOM))

    async def close(self) -> None:
        """Count what is in the store, and let go of it; twice is fine."""
        if self._timer is not None:
            self._timer.cancel()
        for stream in self._streams:
            stream.cancel()
        self._writer.submit(count_letters, self._on_counted)
        await self._writer.close()

    def keep(self, letter: Callable[[], Letter], replaces: Iterable[int], values: Iterable[Any], end: End) -> None:
        """Keep a letter in the place of those that it replaces; then say whether that worked.

        Args:
            letter: makes the letter. It is called at once, but for live completions among the
                values: then when these have ended.
        """
        number = self._expect(end)
        if any(isinstance(value, Completion) and value.is_live for value in values):
            stream = asyncio.ensure_future(self._keep_later(number, letter, replaces, values))
            self._streams.add(stream)
            stream.add_done_callback(self._streams.discard)
        else:
            self._keep(number, letter(), replaces)

    def next_key(self) -> str:
        """Give a key that no other record has, of this run or of another."""
        self._keys += 1
        return f"{self._run}-{self._keys}"

    def discard(self, ids: Iterable[int]) -> None:
        """Remove letters: their records have been delivered."""
        number = self._expect(lambda kept: None)
        self._writer.submit(partial(_remove, ids=ids), partial(self._on_written, number, 0))

    async def purge(self, selection: Selection) -> int:
        """Remove the selected letters for good, and give how many.

        Raises:
            StoreError: they can't be removed.
        """
        try:
            count = await self._writer.ask(partial(purge_letters, selection=selection))
        except sqlite3.Error as error:
            raise StoreError(self._plan.path, describe(error)) from error
        self.in_store -= count
        return count

    async def wait_kept(self, timeout_s: float) -> None:
        """Wait until all that was to be kept is, whoever is cancelled; what takes longer is not kept."""
        with anyio.move_on_after(timeout_s, shield=True):
            while self._pending:
                await self._bell.wait()
        for number in list(self._pending):
            self._finish(number, False)

    def as_dict(self) -> dict[str, Any]:
        """Give the numbers as JSON-like values."""
        return {"path": str(self._plan.path), "kept": self.kept, "purged": self.purged, "in_store": self.in_store}

    @property
    def _is_full(self) -> bool:
        return self._bounded and self.in_store >= self._plan.max_records

    @property
    def _fullness(self) -> str:
        return f"it holds {self.in_store} dead letters, and `max_records` is {self._plan.max_records}"

    def _expect(self, end: End) -> int:
        self._numbers += 1
        self._pending[self._numbers] = end
        return self._numbers

    def _finish(self, number: int, kept: bool) -> None:
        end = self._pending.pop(number, None)
        if end is not None:  # else it took too long, and its branch has ended without it
            end(kept)
        if not self._pending:
            self._bell.ring()

    async def _keep_later(
        self, number: int, letter: Callable[[], Letter], replaces: Iterable[int], values: Iterable[Any]
    ) -> None:
        await await_live(values)
        self._keep(number, letter(), replaces)

    def _keep(self, number: int, letter: Letter, replaces: Iterable[int]) -> None:
        if self._bounded and not self._counting and self.in_store + len(self._pending) >= self._plan.max_records:
            self._counting = True  # others may have removed some: the last ones are counted exactly
            self._writer.submit(count_letters, self._on_counted)
        self._writer.submit(partial(_replace, letter=letter, ids=replaces), partial(self._on_written, number, 1))

    def _on_written(self, number: int, added: int, removed: int | None, error: Exception | None) -> None:
        if error is None:
            self.kept += added
            self.in_store += added - (removed or 0)
            if added and self._is_full and not self._told_full:
                self._told_full = True
                self.on_trouble(f"dead letters: {self._fullness}; {_MAKE_ROOM}")
        else:
            self.on_trouble(f"dead letters: {StoreError(self._plan.path, describe(error))}")
        self._finish(number, error is None)

    def _on_counted(self, count: int | None, error: Exception | None) -> None:
        self._counting = False
        if error is None:
            self.in_store = count

    async def _look(self) -> None:
        """Remove what is too old, count the rest, and do so again after a while."""
        self.purged += await self._writer.ask(self._purge)
        self.in_store = await self._writer.ask(count_letters)
        self._purge_later()

    def _purge_later(self) -> None:
        if self._bounded and self._plan.max_age_s is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(PURGE_EVERY_S, self._writer.submit, self._purge, self._on_purged)

    def _on_purged(self, count: int | None, error: Exception | None) -> None:
        self.purged += count or 0
        self.in_store -= count or 0
        self._purge_later()

    def _purge(self, connection: sqlite3.Connection) -> int:
        if not self._bounded or self._plan.max_age_s is None:
            return 0
        return purge_letters(connection, Selection(before=self.clock() - self._plan.max_age_s))


def _remove(connection: sqlite3.Connection, ids: Iterable[int]) -> int:
    return remove_letters(connection, ids)


def _replace(connection: sqlite3.Connection, letter: Letter, ids: Iterable[int]) -> int:
    add_letter(connection, letter)
    return remove_letters(connection, ids)
