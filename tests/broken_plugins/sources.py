"""A source that keeps every rule, and for each rule one that breaks it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from dagflow import Outcome, Record, Source, UnreadableInput
from dagflow.errors import UnreadableRecord
from dagflow.testing import Sample


class Sound(Source):
    """Keeps every rule."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self._given = 0

    def writes(self) -> set[str]:
        return {"input"}

    def ports(self) -> set[str]:
        return {"odd"}

    def progress(self) -> float | None:
        return self._given / 3

    def records(self) -> AsyncIterator[Any]:
        return self._records(3)

    async def _records(self, count: int) -> AsyncIterator[Record]:
        for number in range(count):
            await asyncio.sleep(0)
            self._given = min(3, number + 1)
            yield self.record(number)

    def record(self, number: int) -> Record:
        """Make one record."""
        if number == 2:
            return UnreadableInput(UnreadableRecord("list:2", "two is no record"), id="two")
        return Record({"input": str(number)}, f"list:{number}", session="s")


class Careful(Sound):
    """Keeps every rule, and takes its time to be told."""

    async def settle(self, record: Record, outcome: Outcome) -> None:
        await asyncio.sleep(0)


class Endless(Sound):
    """Keeps every rule, and never ends."""

    finite = False

    def records(self) -> AsyncIterator[Record]:
        return self._records(10**9)


class Raw(Sound):
    """Gives plain mappings."""

    def record(self, number: int) -> Any:
        return {"input": str(number)}


class Promising(Sound):
    """Does not write what it declares."""

    def writes(self) -> set[str]:
        return {"input", "title"}


class Nameless(Sound):
    """Gives records without an id."""

    def record(self, number: int) -> Record:
        return Record({"input": str(number)})


class Vague(Sound):
    """Gives a priority that is no number."""

    def record(self, number: int) -> Record:
        return Record({"input": str(number)}, str(number), priority="high")  # type: ignore[arg-type]


class Unending(Sound):
    """Never ends, though it is said to be finite."""

    def records(self) -> AsyncIterator[Record]:
        return self._unending()

    async def _unending(self) -> AsyncIterator[Record]:
        while True:
            await asyncio.sleep(0)
            yield self.record(0)


class Stubborn(Sound):
    """Goes on when it is cancelled."""

    async def _records(self, count: int) -> AsyncIterator[Record]:
        for number in range(count):
            try:
                await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                self._given = 0
            yield self.record(number)


class Touchy(Sound):
    """Does not expect a failure."""

    def settle(self, record: Record, outcome: Outcome) -> None:
        self._last = {Outcome.DELIVERED: 1, Outcome.FILTERED: 0}[outcome]


class Percent(Sound):
    """Gives its progress in percent."""

    def progress(self) -> float | None:
        return 100.0 * self._given


class Again(Sound):
    """Knows its records again."""

    resumable = True

    def record(self, number: int) -> Record:
        record = super().record(number)
        record.key = self.key(number)
        return record

    def key(self, number: int) -> bytes:
        """Name a record over runs."""
        return number.to_bytes(16, "big")


class Forgetful(Again):
    """Names its records otherwise each time."""

    def key(self, number: int) -> bytes:
        return os.urandom(16)


class Ignoring(Sound):
    """Lets an answer lie."""

    def on_answer(self, record: Record, answer: Record) -> None:
        pass


SOUND = {"list": Sample(Sound), "careful": Sample(Careful), "endless": Sample(Endless), "again": Sample(Again)}

BROKEN = {
    "SOURCE-1": Sample(Raw),
    "SOURCE-2": Sample(Promising),
    "SOURCE-3": Sample(Nameless),
    "SOURCE-4": Sample(Vague),
    "SOURCE-5": Sample(Unending),
    "SOURCE-6": Sample(Stubborn),
    "SOURCE-7": Sample(Touchy),
    "SOURCE-8": Sample(Percent),
    "SOURCE-9": Sample(Ignoring, patience_s=0.1),
    "SOURCE-10": Sample(Forgetful),
}
