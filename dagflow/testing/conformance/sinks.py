"""Rules for sinks."""

from __future__ import annotations

import asyncio
import inspect
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from dagflow.completion import Completion
from dagflow.errors import RecordError, WorkerError, describe
from dagflow.exchange import Chunk
from dagflow.testing.conformance.calls import attempt, call, check_cancelled
from dagflow.testing.conformance.rule import Breach, demand, rule
from dagflow.testing.conformance.upkeep import (
    check_errors,
    check_kept,
    check_reads,
    check_unchanged,
    check_values,
    odd_records,
    succeeds,
)

if TYPE_CHECKING:
    from dagflow.record import Record
    from dagflow.testing.conformance.trial import Trial


@rule("SINK-1")
async def delivers_at_once(trial: Trial) -> None:
    """Once `write` has returned, the record is delivered: nothing of it waits for `flush` or a later record."""
    arrived = trial.sample.arrived
    async with trial.opened() as sink:
        for number, record in enumerate(trial.records(sink), 1):
            await _written(trial, sink, record)
            if arrived is not None:
                found = arrived(trial.folder)
                demand(found == number, f"after {number} records were written, {found} have arrived")


@rule("SINK-2")
async def keeps_no_record(trial: Trial) -> None:
    """Once `write` has returned, the sink does not keep the record."""
    async with trial.opened() as sink:
        await check_kept(trial, sink, sink.write, "`write`")


@rule("SINK-3")
async def changes_no_field(trial: Trial) -> None:
    """`write` leaves the fields of its record as they are."""
    async with trial.opened() as sink:
        for record in trial.records(sink):
            before = dict(record)
            await _written(trial, sink, record)
            check_unchanged(record, before, "`write`")


@rule("SINK-4")
async def changes_no_value(trial: Trial) -> None:
    """Values are never changed in place: other branches share them."""
    await check_values(trial, "write")


@rule("SINK-5")
async def reads_what_it_declares(trial: Trial) -> None:
    """`write` needs no other fields than `reads` names, and one of each group of `reads_any`."""
    async with trial.opened() as sink:
        await check_reads(trial, sink, sink.write, "`write`")


@rule("SINK-6")
async def raises_record_errors(trial: Trial) -> None:
    """A record that can't be written raises a `RecordError` or another `Exception`, and never ends the program."""
    async with trial.opened() as sink:
        for record in odd_records(trial, sink):
            await check_errors(trial, lambda record=record: call(sink.write, record), "`write`")


@rule("SINK-7")
async def writes_at_the_same_time(trial: Trial) -> None:
    """Records can be written at the same time, each whole."""
    async with trial.opened() as sink:
        records = [
            record for _ in range(4) for record in trial.records(sink) if await succeeds(trial, sink.write, record)
        ]
        before = await _flushed_count(trial, sink)
        tasks = [trial.bounded(call(sink.write, record), "`write`") for record in records]
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, BaseException):
                raise Breach(f"of several `write` at the same time, one raised {describe(result)}") from result
        found = await _flushed_count(trial, sink) - before
        all_there = trial.sample.arrived is None or found == len(records)
        demand(all_there, f"of {len(records)} records written at the same time, {found} arrived")


@rule("SINK-8")
async def flushes_at_any_time(trial: Trial) -> None:
    """`flush` works at any time, and any number of times."""
    async with trial.opened() as sink:
        await _flushed(trial, sink, "before any record")
        for record in trial.records(sink):
            await _written(trial, sink, record)
            await _flushed(trial, sink, "after a record")
        await _flushed(trial, sink, "for the second time")


@rule("SINK-9")
async def gives_a_position(trial: Trial) -> None:
    """`position` gives None, or a value that JSON can hold, at any time."""
    async with trial.opened() as sink:
        _check_position(sink)
        for record in trial.records(sink):
            await _written(trial, sink, record)
            _check_position(sink)


@rule("SINK-10")
async def lets_cancellation_through(trial: Trial) -> None:
    """`write` lets a cancellation through, at any `await`."""
    async with trial.opened() as sink:
        if inspect.iscoroutinefunction(sink.write):
            await check_cancelled(trial, lambda: sink.write(trial.records(sink)[0]), "`write`")


@rule("SINK-11")
async def survives_cancellation(trial: Trial) -> None:
    """After a cancellation, the sink goes on to work."""
    async with trial.opened() as sink:
        if not inspect.iscoroutinefunction(sink.write):
            return
        for turns in range(4):
            task = asyncio.ensure_future(sink.write(trial.records(sink)[0]))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task], timeout=trial.sample.patience_s)
        await attempt(trial, call(sink.write, trial.records(sink)[0]), "after a cancellation, `write`")


@rule("SINK-12")
async def waits_for_live_completions(trial: Trial) -> None:
    """A sink with `forwards_live` returns when a live completion has ended, and raises if that broke."""
    async with trial.opened() as sink:
        if sink.forwards_live:
            demand(not await _returns_early(trial, sink), "`write` returned while the completion was live")
            error = await _of_broken(trial, sink)
            demand(isinstance(error, RecordError), "`write` did not raise, though the completion broke")


@rule("SINK-13")
async def takes_back(trial: Trial) -> None:
    """A sink with a `position` that is opened with it takes back what was written after it, and nothing before."""
    async with trial.opened() as sink:
        await _write_all(trial, sink)
        position = sink.position()
        before = await _flushed_count(trial, sink)
        await _write_all(trial, sink)
        await _flushed_count(trial, sink)
    if position is None or not _is_json(position):
        return
    async with trial.opened(position=position) as sink:
        found = await _flushed_count(trial, sink)
        demand(
            found == before, f"{before} records stood before the position with which it was opened, {found} are there"
        )
        await _write_all(trial, sink)
        found = await _flushed_count(trial, sink)
        all_there = trial.sample.arrived is None or found == 2 * before
        demand(
            all_there, f"after a position with {before} records before it, as many were written, and {found} are there"
        )


async def _flushed_count(trial: Trial, sink: Any) -> int:
    """Count what has arrived, for rules that do not mind a sink that waits for its flush."""
    with suppress(Exception):
        await trial.bounded(sink.flush(), "`flush`")
    return 0 if trial.sample.arrived is None else trial.sample.arrived(trial.folder)


async def _returns_early(trial: Trial, sink: Any) -> bool:
    record, completion = _live(trial, sink)
    await completion.feed(Chunk("It "))
    writing = asyncio.ensure_future(call(sink.write, record))
    for _ in range(20):
        await asyncio.sleep(0)
    early = writing.done()
    await completion.feed(Chunk("is.", "stop"))
    completion.finish()
    await attempt(trial, _awaited(writing), "at the end of a live completion, `write`")
    return early


async def _of_broken(trial: Trial, sink: Any) -> BaseException | None:
    record, completion = _live(trial, sink)
    completion.finish(WorkerError("unavailable", "a sample of a stream that breaks"))
    try:
        await trial.bounded(call(sink.write, record), "`write`")
    except RecordError as error:
        return error
    return None


def _live(trial: Trial, sink: Any) -> tuple[Record, Completion]:
    record = trial.records(sink)[0]
    completion = record["completion"] = Completion.live()
    return record, completion


async def _awaited(task: asyncio.Future[Any]) -> Any:
    return await task


async def _write_all(trial: Trial, sink: Any) -> None:
    for record in trial.records(sink):
        await _written(trial, sink, record)


def _check_position(sink: Any) -> None:
    try:
        position = sink.position()
    except Exception as error:
        raise Breach(f"`position` raised {describe(error)}") from error
    demand(_is_json(position), f"`position` gave `{position!r}`")


async def _written(trial: Trial, sink: Any, record: Record) -> None:
    with suppress(Exception):
        await trial.bounded(call(sink.write, record), "`write`")


async def _flushed(trial: Trial, sink: Any, when: str) -> None:
    try:
        await trial.bounded(sink.flush(), f"{when}, `flush`")
    except Breach:
        raise
    except Exception as error:
        raise Breach(f"{when}, `flush` raised {describe(error)}") from error


def _is_json(value: Any) -> bool:
    try:
        return json.loads(json.dumps(value)) == value
    except (TypeError, ValueError):
        return False


SINK_RULES: Final = (
    delivers_at_once,
    keeps_no_record,
    changes_no_field,
    changes_no_value,
    reads_what_it_declares,
    raises_record_errors,
    writes_at_the_same_time,
    flushes_at_any_time,
    gives_a_position,
    lets_cancellation_through,
    survives_cancellation,
    waits_for_live_completions,
    takes_back,
)
