"""For each rule for stages, one that breaks it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

from broken_plugins.general import Sound

from dagflow import Chunk, Completion, Record, Stage
from dagflow.testing import Sample


class Live(Stage):
    """Keeps every rule, and makes live completions."""

    def writes(self) -> set[str]:
        return {"completion"}

    async def process(self, record: Record) -> AsyncIterator[Record]:
        completion = record["completion"] = Completion.live()
        try:
            await completion.feed(Chunk("Well, "))
            yield record
            await asyncio.sleep(0)
            await completion.feed(Chunk("yes.", "stop"))
        finally:
            completion.finish()


class Splitting(Stage):
    """Keeps every rule, and makes two records of one, in a thread."""

    def reads(self) -> set[str]:
        return {"input"}

    def writes(self) -> set[str]:
        return {"half"}

    def process(self, record: Record) -> list[Record]:
        text = record["input"]
        return [Record({"half": text[: len(text) // 2]}), Record({"half": text[len(text) // 2 :]})]


class Passing(Sound):
    """Keeps every rule, and lets live completions pass."""

    passes_live = True


class Wordy(Sound):
    """Gives a text."""

    async def process(self, record: Record) -> Any:
        return record["input"]


class Promising(Sound):
    """Does not write what it declares."""

    def writes(self) -> set[str]:
        return {"answer"}


class Nosy(Sound):
    """Reads what it does not declare."""

    async def process(self, record: Record) -> Record:
        record["both"] = record["input"] + record["title"]
        return record


class Straying(Sound):
    """Uses a port that it does not declare."""

    async def process(self, record: Record) -> Record:
        record.port = "nowhere"
        return record


class Quitting(Sound):
    """Ends the program over a record that it can't read."""

    async def process(self, record: Record) -> Record:
        if not isinstance(record.get("input"), str):
            sys.exit("no input")
        return record


class Keeping(Sound):
    """Keeps the records."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self._seen: list[Record] = []

    async def process(self, record: Record) -> Record:
        self._seen.append(record)
        return record


class Marking(Sound):
    """Changes a value that other branches share."""

    async def process(self, record: Record) -> Record:
        record["tags"].append("seen")
        return record

    def reads(self) -> set[str]:
        return {"input", "tags"}


class Mixing(Sound):
    """Has room for one record only."""

    _current: Record | None = None

    async def process(self, record: Record) -> Record:
        self._current = record
        await asyncio.sleep(0)
        current, self._current = self._current or record, None
        return current


class Stubborn(Sound):
    """Goes on when it is cancelled."""

    async def process(self, record: Record) -> Record:
        try:
            await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            record["late"] = True
        return record


class Fragile(Sound):
    """Does not work any more once it was cancelled."""

    _broken = False

    async def process(self, record: Record) -> Record:
        if self._broken:
            raise RuntimeError("broken for good")
        try:
            await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            self._broken = True
            raise
        return record


class Curious(Passing):
    """Waits for the end of a live completion, though it says it lets them pass."""

    async def process(self, record: Record) -> Record:
        if isinstance(record.get("completion"), Completion):
            await record["completion"].whole()
        return record


class Forgetful(Live):
    """Leaves a completion live for ever."""

    async def process(self, record: Record) -> AsyncIterator[Record]:
        completion = record["completion"] = Completion.live()
        await completion.feed(Chunk("Well, "))
        yield record


SOUND = {
    "live": Sample(Live),
    "splitting": Sample(Splitting),
    "passing": Sample(Passing),
}

BROKEN = {
    "STAGE-1": Sample(Wordy),
    "STAGE-2": Sample(Promising),
    "STAGE-3": Sample(Nosy, records=[{"input": "one", "title": "two"}]),
    "STAGE-4": Sample(Straying),
    "STAGE-5": Sample(Quitting),
    "STAGE-6": Sample(Keeping),
    "STAGE-7": Sample(Marking, records=[{"input": "one", "tags": ["new"]}]),
    "STAGE-8": Sample(Mixing),
    "STAGE-9": Sample(Stubborn),
    "STAGE-10": Sample(Fragile),
    "STAGE-11": Sample(Curious, patience_s=0.1),
    "STAGE-12": Sample(Forgetful),
}
