"""A stage that keeps every rule for all plugins and nodes, and for each of these rules one that breaks it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, field_validator

from dagflow import Context, Options, Record, Stage
from dagflow.testing import Sample


class Sound(Stage):
    """Keeps every rule."""

    class Options(Options):
        names: list[str] = Field([], description="anything")

    _opened = False

    async def open(self, context: Context) -> None:
        await super().open(context)
        self._counter = context.metrics.counter("seen")
        await asyncio.sleep(0)
        self._opened = True

    def reads(self) -> set[str]:
        return {"input"}

    def writes(self) -> set[str]:
        return set()

    def ports(self) -> set[str]:
        return {"long"}

    async def process(self, record: Record) -> Record:
        await asyncio.sleep(0)
        return record


class FromTheFuture(Sound):
    """Is written for a later contract."""

    contract = 1000


class Greedy(Sound):
    """Takes a key of the engine."""

    class Options(Options):
        timeout: int = 3


class Crashing(Sound):
    """Has options that fail on a value in another way than pydantic's."""

    class Options(Options):
        size: int = 1

        @field_validator("size")
        @classmethod
        def _known(cls, size: int) -> int:
            return {1: 1}[size]


class Looking(Sound):
    """Looks into a folder when it is built."""

    def __init__(self, options: BaseModel | None = None) -> None:
        super().__init__(options)
        self.found = list(Path("/").iterdir())


class Looping(Sound):
    """Wants an event loop when it is built."""

    def __init__(self, options: BaseModel | None = None) -> None:
        super().__init__(options)
        self.loop = asyncio.get_running_loop()


class Tinkering(Sound):
    """Changes its options."""

    async def open(self, context: Context) -> None:
        await super().open(context)
        self.options.names.append("more")


class Unclosable(Sound):
    """Can't be closed before it was opened."""

    def __init__(self, options: BaseModel | None = None) -> None:
        super().__init__(options)
        self._begun = False

    async def open(self, context: Context) -> None:
        self._begun = True
        await super().open(context)

    async def close(self) -> None:
        if not self._begun:
            raise RuntimeError("never opened")


class ClosedOnce(Sound):
    """Can be closed once."""

    _closed = False

    async def close(self) -> None:
        if self._closed:
            raise RuntimeError("closed already")
        self._closed = True


class HalfOpen(Sound):
    """Can't be closed when `open` was interrupted."""

    _begun = False

    async def open(self, context: Context) -> None:
        self._begun = True
        await super().open(context)

    async def close(self) -> None:
        if self._begun and not self._opened:
            raise RuntimeError("half open")


class Deaf(Sound):
    """Does not hear of a cancellation while it opens."""

    async def open(self, context: Context) -> None:
        await super().open(context)
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.context.logger.info("not now")


class Sleepy(Sound):
    """Makes the event loop wait."""

    async def process(self, record: Record) -> Record:
        time.sleep(0.001)  # noqa: ASYNC251
        return record


class Listing(Sound):
    """Declares a list."""

    def reads(self) -> Any:
        return ["input"]


class Unsettled(Sound):
    """Declares something else once it is open."""

    def writes(self) -> set[str]:
        return {"input"} if self._opened else set()


class Shouting(Sound):
    """Has a port that can't stand in a file."""

    def ports(self) -> set[str]:
        return {"LONG ones"}


SOUND = {"stage": Sample(Sound)}

BROKEN = {
    "PLUGIN-1": Sample(FromTheFuture),
    "PLUGIN-2": Sample(Greedy),
    "PLUGIN-3": Sample(Crashing),
    "PLUGIN-4": Sample(Looking),
    "PLUGIN-5": Sample(Looping),
    "PLUGIN-6": Sample(Tinkering),
    "PLUGIN-7": Sample(Unclosable),
    "PLUGIN-8": Sample(ClosedOnce),
    "PLUGIN-9": Sample(HalfOpen),
    "PLUGIN-10": Sample(Deaf),
    "PLUGIN-11": Sample(Sleepy),
    "NODE-1": Sample(Listing),
    "NODE-2": Sample(Unsettled),
    "NODE-3": Sample(Shouting),
}
