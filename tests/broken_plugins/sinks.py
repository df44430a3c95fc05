"""A sink that keeps every rule, and for each rule one that breaks it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from pydantic import Field

from dagflow import Completion, FilePath, Options, Record, Sink
from dagflow.testing import Sample


class Sound(Sink):
    """Keeps every rule: writes a line for each record."""

    class Options(Options):
        path: FilePath = Field(Path("out.txt"), description="the file that is written")

    forwards_live = True

    def reads(self) -> set[str]:
        return {"input"}

    def writes(self) -> set[str]:
        return set()

    async def write(self, record: Record) -> None:
        await asyncio.sleep(0)
        if isinstance(record.get("completion"), Completion):
            await record["completion"].whole()
        self.put(record)

    def put(self, record: Record) -> None:
        """Write a line."""
        with self.options.path.open("a") as file:
            file.write(f"{record['input']!r}\n")


class Threaded(Sink):
    """Keeps every rule, in a thread."""

    def write(self, record: Record) -> None:
        pass


class Late(Sound):
    """Writes when it is flushed."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self._lines: list[str] = []

    def put(self, record: Record) -> None:
        self._lines.append(repr(record["input"]))

    async def flush(self) -> None:
        with self.options.path.open("a") as file:
            file.writelines(f"{line}\n" for line in self._lines)
        self._lines.clear()


class Keeping(Sound):
    """Keeps the records."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self._seen: list[Record] = []

    def put(self, record: Record) -> None:
        super().put(record)
        self._seen.append(record)


class Taking(Sound):
    """Takes a field out of the record."""

    def put(self, record: Record) -> None:
        super().put(record)
        record["input"] = None


class Marking(Sound):
    """Changes a value that other branches share."""

    def put(self, record: Record) -> None:
        super().put(record)
        record["input"].append("seen")


class Nosy(Sound):
    """Reads what it does not declare."""

    def put(self, record: Record) -> None:
        super().put(Record({"input": record["input"] + record["title"]}))


class Quitting(Sound):
    """Ends the program over a record that it can't read."""

    def put(self, record: Record) -> None:
        if not isinstance(record.get("input"), str):
            sys.exit("no input")
        super().put(record)


class Lonely(Sound):
    """Can write one record at a time only."""

    _busy = False

    async def write(self, record: Record) -> None:
        if self._busy:
            raise RuntimeError("busy")
        self._busy = True
        try:
            await super().write(record)
        finally:
            self._busy = False


class FlushedOnce(Sound):
    """Can be flushed once."""

    _flushed = False

    async def flush(self) -> Any:
        if self._flushed:
            raise RuntimeError("flushed already")
        self._flushed = True


class Odd(Sound):
    """Gives a position that JSON can't hold."""

    def position(self) -> Any:
        return {1, 2, 3}


class Stubborn(Sound):
    """Goes on when it is cancelled."""

    async def write(self, record: Record) -> None:
        try:
            await super().write(record)
        except asyncio.CancelledError:
            self.put(record)


class Fragile(Sound):
    """Does not work any more once it was cancelled."""

    _broken = False

    async def write(self, record: Record) -> None:
        if self._broken:
            raise RuntimeError("broken for good")
        try:
            await super().write(record)
        except asyncio.CancelledError:
            self._broken = True
            raise


class Hasty(Sound):
    """Does not wait for the end of a live completion."""

    async def write(self, record: Record) -> None:
        await asyncio.sleep(0)
        if isinstance(record.get("completion"), Completion):
            record["completion"].abandon()
        self.put(record)


class Resuming(Sound):
    """Goes on where it was."""

    async def open(self, context: Any) -> None:
        await super().open(context)
        if context.position is not None:
            self.cut(context.position["bytes"])

    def cut(self, size: int) -> None:
        """Take back what stands behind a position."""
        os.truncate(self.options.path, size)

    def position(self) -> Any:
        return {"bytes": self.options.path.stat().st_size if self.options.path.exists() else 0}


class Remembering(Resuming):
    """Does not take back what it wrote behind its position."""

    def cut(self, size: int) -> None:
        pass


def lines(folder: Path) -> int:
    """Count the lines that have arrived."""
    path = folder / "out.txt"
    return path.read_text().count("\n") if path.exists() else 0


def sample(cls: type[Sink], **more: Any) -> Sample:
    """Give a sample that writes into its folder."""
    return Sample(cls, options={"path": "out.txt"}, arrived=lines, **more)


SOUND = {"lines": sample(Sound), "threaded": Sample(Threaded), "resuming": sample(Resuming)}

BROKEN = {
    "SINK-1": sample(Late),
    "SINK-2": sample(Keeping),
    "SINK-3": sample(Taking),
    "SINK-4": sample(Marking, records=[{"input": ["new"]}]),
    "SINK-5": sample(Nosy, records=[{"input": "one", "title": "two"}]),
    "SINK-6": sample(Quitting),
    "SINK-7": sample(Lonely),
    "SINK-8": sample(FlushedOnce),
    "SINK-9": sample(Odd),
    "SINK-10": sample(Stubborn),
    "SINK-11": sample(Fragile),
    "SINK-12": sample(Hasty),
    "SINK-13": sample(Remembering),
}
