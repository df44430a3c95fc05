"""Rules for sources."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from dagflow.completion import Completion
from dagflow.errors import PluginBug, describe
from dagflow.exchange import Chunk
from dagflow.record import Outcome, Record, UnreadableInput
from dagflow.testing.conformance.calls import TAKE, attempt, check_cancelled, closing, first_records
from dagflow.testing.conformance.rule import Breach, demand, rule

if TYPE_CHECKING:
    from dagflow.testing.conformance.trial import Trial

KEY_BYTES: Final = 16
_MOST: Final = 10_000  # records of a sample; a source that gives more has no end
_CHUNKS: Final = 100  # more than a live completion holds for a reader that is slow


@rule("SOURCE-1")
async def gives_records(trial: Trial) -> None:
    """`records` gives an async iterator of Records; input that is no record is an `UnreadableInput`."""
    async with trial.opened() as source:
        records = source.records()
        demand(hasattr(records, "__anext__"), f"`records` gave a `{type(records).__name__}`")
        for record in await first_records(trial, source):
            demand(isinstance(record, Record), f"`records` yielded a `{type(record).__name__}`")


@rule("SOURCE-2")
async def writes_what_it_declares(trial: Trial) -> None:
    """Every record has all fields that `writes` names."""
    async with trial.opened() as source:
        declared = source.writes() or set()
        for record in await _records(trial, source):
            missing = sorted(declared - record.keys())
            demand(not missing, f"`writes` names `{missing[0] if missing else ''}`, but a record has {sorted(record)}")


@rule("SOURCE-3")
async def names_records(trial: Trial) -> None:
    """A record has an id, a text that is not empty, and leaves by the main output or a port that `ports` names."""
    async with trial.opened() as source:
        for record in await _records(trial, source):
            demand(isinstance(record.id, str) and record.id, f"a record has the id `{record.id!r}`")
            demand(record.port is None or record.port in source.ports(), f"a record has the port `{record.port}`")


@rule("SOURCE-4")
async def describes_records(trial: Trial) -> None:
    """A record's `session` is a text or None, `priority` an int, `deadline` a number or None, and `meta` a mapping."""
    types = {"session": str | None, "priority": int, "deadline": float | int | None, "meta": Mapping}
    async with trial.opened() as source:
        for record in await _records(trial, source):
            for name, expected in types.items():
                value = getattr(record, name)
                demand(isinstance(value, expected), f"a record has the {name} `{value!r}`")


@rule("SOURCE-5")
async def knows_its_end(trial: Trial) -> None:
    """A source with `finite` comes to its end; one without goes on, or waits."""
    async with trial.opened() as source:
        if source.finite:
            found = len(await first_records(trial, source, _MOST))
            demand(found < _MOST, f"after {found} records it has not ended, though it is `finite`")
        else:
            await _goes_on(trial, source)


async def _goes_on(trial: Trial, source: Any) -> None:
    try:
        found = len(await first_records(trial, source))
    except Breach:
        return  # it waits
    demand(found == TAKE, f"it ended after {found} records, though it is not `finite`")


@rule("SOURCE-6")
async def can_be_stopped(trial: Trial) -> None:
    """`records` can be stopped at any point: it lets a cancellation through, and can be closed between records."""
    async with trial.opened() as source:
        await check_cancelled(trial, lambda: _read(source), "the wait for the next record")
    for reads in range(4):
        async with trial.opened() as source:
            await attempt(trial, closing(source.records(), reads), f"closing `records` after {reads} records")


@rule("SOURCE-7")
async def takes_outcomes(trial: Trial) -> None:
    """`settle` takes any outcome of each record, in any order, and does not raise."""
    for outcome in Outcome:
        async with trial.opened() as source:
            for record in reversed(await _records(trial, source)):
                _mark(record, outcome)
                await _told(trial, source, record, outcome)


@rule("SOURCE-8")
async def tells_progress(trial: Trial) -> None:
    """`progress` gives a share from 0 to 1, or None, at any time."""
    _check_progress(trial.build(), "before `open`")
    async with trial.opened() as source:
        _check_progress(source, "once open")
        await _records(trial, source)
        _check_progress(source, "after reading")


@rule("SOURCE-9")
async def takes_answers(trial: Trial) -> None:
    """`on_answer` does not raise, and reads a live completion to its end, or abandons it."""
    async with trial.opened() as source:
        for record in (await _records(trial, source))[:1]:
            completion = Completion.live()
            try:
                source.on_answer(record, Record({"completion": completion}, record.id))
            except Exception as error:
                raise Breach(f"`on_answer` raised {describe(error)}") from error
            await trial.bounded(_feed(completion), "nobody reads the completion of an answer: its producer")


@rule("SOURCE-10")
async def knows_its_records_again(trial: Trial) -> None:
    """Each record of a source with `resumable` has a `key` of 16 bytes, the same whenever its input is read."""
    read = []
    for _ in range(2):
        async with trial.opened() as source:
            if not source.resumable:
                return
            found = await first_records(trial, source)
            read.append([getattr(record, "key", None) for record in found if isinstance(record, Record)])
    for key in read[0]:
        demand(isinstance(key, bytes) and len(key) == KEY_BYTES, f"a record has the key `{key!r}`")
    demand(read[0] == read[1], "the keys were others when its input was read again")


async def _feed(completion: Completion) -> None:
    for _ in range(_CHUNKS):
        await completion.feed(Chunk("word "))
    await completion.feed(Chunk("", "stop"))
    completion.finish()


async def _records(trial: Trial, source: Any) -> list[Record]:
    """Give the first records of a source, without what is unreadable or no record at all."""
    found = await first_records(trial, source)
    return [r for r in found if isinstance(r, Record) and not isinstance(r, UnreadableInput)]


async def _read(source: Any) -> None:
    async for _ in source.records():
        pass


def _mark(record: Record, outcome: Outcome) -> None:
    if record.ticket is not None and outcome is Outcome.FAILED:
        record.ticket.error = PluginBug(ValueError("a sample of an error"))


async def _told(trial: Trial, source: Any, record: Record, outcome: Outcome) -> None:
    try:
        told = source.settle(record, outcome)
        if inspect.isawaitable(told):
            await trial.bounded(told, "`settle`")
    except Breach:
        raise
    except Exception as error:
        raise Breach(f"`settle` raised {describe(error)} for the outcome `{outcome}`") from error


def _check_progress(source: Any, when: str) -> None:
    try:
        share = source.progress()
    except Exception as error:
        raise Breach(f"{when}, `progress` raised {describe(error)}") from error
    legal = share is None or (isinstance(share, int | float) and 0 <= share <= 1)
    demand(legal, f"{when}, `progress` gave `{share!r}`")


SOURCE_RULES: Final = (
    gives_records,
    writes_what_it_declares,
    names_records,
    describes_records,
    knows_its_end,
    can_be_stopped,
    takes_outcomes,
    tells_progress,
    takes_answers,
    knows_its_records_again,
)
