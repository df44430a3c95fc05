"""Source `generate`: makes records out of nothing, for trials, tests and benchmarks.

Fast enough to measure engines with: a record without a real template costs little more than
its object. The same seed always gives the same records.
"""

from __future__ import annotations

import re
from asyncio import sleep
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Final

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from dagflow.expressions import Template
from dagflow.options import Options, Rate
from dagflow.plugin import Source
from dagflow.record import Record
from dagflow.sources.pace import Pace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pydantic import BaseModel

_NUMBER: Final = re.compile(r"\{\{ *n *\}\}")
_DEFAULT_BURST_S: Final = 0.01  # timers are late by up to a few milliseconds


class Generate(Source):
    """Makes records with the fields `n`, counted from 0, and `input`; their ids are `NAME:n`."""

    class Options(Options):
        count: int | None = Field(None, ge=0, description="how many records are made; endless if not given")
        rate: Rate | None = Field(None, description="how many are made a second; as many as are asked for if not given")
        burst: int | None = Field(
            None,
            ge=1,
            description="how many may come at once, at the start and to catch up; by default 10 ms of `rate`",
        )
        input: Template = Field(Template("record {{ n }}"), description="the template of `input`, over `n`")
        sessions: int | None = Field(None, ge=1, description="how many sessions the records are spread over; none")
        priorities: list[int] | None = Field(
            None, min_length=1, description="priorities that are drawn from with equal chance; repeat one to favour it"
        )
        seed: int = Field(0, description="the same seed draws the same sessions and priorities")

        @model_validator(mode="after")
        def _check(self) -> Generate.Options:
            unknown = sorted(self.input.names - {"n"})
            if unknown:
                raise PydanticCustomError("bad_input", "`input` can use `n` only, not `{name}`", {"name": unknown[0]})
            if self.burst is not None and self.rate is None:
                raise PydanticCustomError("burst_without_rate", "`burst` needs a `rate`")
            if self.rate == 0:
                raise PydanticCustomError("zero_rate", "expected a `rate` above 0")
            return self

    resumable = splits = splits_sessions = True
    incidental = frozenset({"count", "rate", "burst"})

    def __init__(self, options: BaseModel | None = None) -> None:
        super().__init__(options)
        self.finite = self.options.count is not None
        self._made = 0

    def writes(self) -> set[str]:
        return {"input", "n"}

    def progress(self) -> float | None:
        return self._made / self.options.count if self.options.count else None

    async def records(self) -> AsyncIterator[Record]:
        numbers = count() if self.options.count is None else range(self.options.count)
        render, decorate, pace = _renderer(self.options.input), self._decorator(), self._pace()
        prefix, share = f"{self.context.name}:", self.context.share
        for n in numbers:
            record = Record((), f"{prefix}{n}")
            record.key = n.to_bytes(16, "big")
            if decorate is not None:
                decorate(record)
            if not (share.is_all or share.takes(record.key, record.session)):
                continue
            if pace is not None and (wait_s := pace.next_wait_s(self.context.clock())) > 0:
                await sleep(wait_s)
            record["input"], record["n"] = render(n), n
            self._made = n + 1
            yield record

    def _pace(self) -> Pace | None:
        rate = self.options.rate
        if rate is None:
            return None
        burst, count = self.options.burst or round(rate * _DEFAULT_BURST_S), self.context.share.count
        return Pace(rate / count, max(1, burst // count), self.context.clock())

    def _decorator(self) -> Callable[[Record], None] | None:
        """Build what gives a record its session and priority; None if it gets neither."""
        sessions, priorities = self.options.sessions, self.options.priorities
        if sessions is None and priorities is None:
            return None
        draw = Random(f"{self.options.seed}:{self.context.name}").random

        def decorate(record: Record) -> None:
            if sessions is not None:
                record.session = f"session-{int(draw() * sessions)}"
            if priorities is not None:
                record.priority = priorities[int(draw() * len(priorities))]

        return decorate


def _renderer(template: Template) -> Callable[[int], str]:
    """Build what renders the template for a number, without Jinja where it only prints the number."""
    if re.search(r"\{[{%#]|[}%#]\}", _NUMBER.sub("", template.source)):
        return lambda n: template.render(Record({"n": n}))
    # Jinja itself says what stands around the number: it drops a last line feed, for one.
    first, *parts = template.render(Record({"n": "\0"})).split("\0")
    if not parts:
        return lambda n: first
    if len(parts) == 1:
        last = parts[0]
        return lambda n: f"{first}{n}{last}"
    return lambda n: str(n).join([first, *parts])
