"""Rules for stages."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from dagflow.completion import Completion
from dagflow.exchange import Chunk
from dagflow.testing.conformance.calls import attempt, call, check_cancelled, closing, parts_of
from dagflow.testing.conformance.rule import Breach, demand, rule
from dagflow.testing.conformance.upkeep import check_errors, check_kept, check_reads, check_values, odd_records

if TYPE_CHECKING:
    from dagflow.record import Record
    from dagflow.testing.conformance.trial import Trial


@rule("STAGE-1")
async def gives_a_result(trial: Trial) -> None:
    """`process` gives a Record, None, or an iterable of Records; an async generator yields Records."""
    async with trial.opened() as stage:
        for record in trial.records(stage):
            parts_of(await _processed(trial, stage, record))


@rule("STAGE-2")
async def writes_what_it_declares(trial: Trial) -> None:
    """What goes on by the main output has all fields that `writes` names."""
    async with trial.opened() as stage:
        declared = stage.writes() or set()
        for part in await _all_parts(trial, stage):
            missing = sorted(declared - part.keys()) if part.port is None else []
            demand(not missing, f"`writes` names `{missing[0] if missing else ''}`, but a record has {sorted(part)}")


@rule("STAGE-3")
async def reads_what_it_declares(trial: Trial) -> None:
    """`process` needs no other fields than `reads` names, and one of each group of `reads_any`."""
    async with trial.opened() as stage:
        await check_reads(trial, stage, stage.process, "`process`")


@rule("STAGE-4")
async def uses_its_ports(trial: Trial) -> None:
    """A record leaves by the main output, or by a port that `ports` names."""
    async with trial.opened() as stage:
        for part in await _all_parts(trial, stage):
            demand(part.port is None or part.port in stage.ports(), f"a record leaves by the port `{part.port}`")


@rule("STAGE-5")
async def raises_record_errors(trial: Trial) -> None:
    """A record that can't be processed raises a `RecordError` or another `Exception`, and never ends the program."""
    async with trial.opened() as stage:
        for record in odd_records(trial, stage):
            await check_errors(trial, lambda record=record: call(stage.process, record), "`process`")


@rule("STAGE-6")
async def keeps_no_record(trial: Trial) -> None:
    """Once `process` has returned, the stage keeps neither the record nor its result."""
    async with trial.opened() as stage:
        await check_kept(trial, stage, stage.process, "`process`")


@rule("STAGE-7")
async def changes_no_value(trial: Trial) -> None:
    """Values are replaced, never changed, neither by `process` nor later: other branches share them."""
    await check_values(trial, "process")


@rule("STAGE-8")
async def keeps_records_apart(trial: Trial) -> None:
    """Records that are processed at the same time don't mix."""
    async with trial.opened() as stage:
        records = [record for _ in range(4) for record in trial.records(stage)]
        for number, record in enumerate(records):
            record.id = f"apart:{number}"
        results = await asyncio.gather(*(_processed(trial, stage, record) for record in records))
        for record, result in zip(records, results, strict=True):
            for part in _legal_parts(result):
                mine = part.id in ("", record.id) or part.ticket in (None, record.ticket)
                demand(mine, f"for the record `{record.id}` came one of `{part.id}`")


@rule("STAGE-9")
async def lets_cancellation_through(trial: Trial) -> None:
    """`process` lets a cancellation through, at any `await`; a generator can be closed at any `yield`."""
    async with trial.opened() as stage:
        if inspect.iscoroutinefunction(stage.process):
            await check_cancelled(trial, lambda: stage.process(trial.records(stage)[0]), "`process`")
        elif inspect.isasyncgenfunction(stage.process):
            await check_cancelled(trial, lambda: call(stage.process, trial.records(stage)[0]), "`process`")
            for reads in range(3):
                work = closing(stage.process(trial.records(stage)[0]), reads)
                await attempt(trial, work, "closing `process` at a `yield`")


@rule("STAGE-10")
async def survives_cancellation(trial: Trial) -> None:
    """After a cancellation, the stage goes on to work."""
    async with trial.opened() as stage:
        if not inspect.iscoroutinefunction(stage.process):
            return
        for turns in range(4):
            task = asyncio.ensure_future(stage.process(trial.records(stage)[0]))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task], timeout=trial.sample.patience_s)
        await attempt(trial, call(stage.process, trial.records(stage)[0]), "after a cancellation, `process`")


@rule("STAGE-11")
async def passes_live_completions(trial: Trial) -> None:
    """A stage with `passes_live` returns while a completion is live, and leaves it live."""
    async with trial.opened() as stage:
        if not stage.passes_live:
            return
        record = trial.records(stage)[0]
        completion = record["completion"] = Completion.live()
        await completion.feed(Chunk("It "))
        with suppress(Exception):
            await trial.bounded(call(stage.process, record), "with a live completion, `process`")
        demand(completion.is_live and not completion.is_read, "the completion was read, or is no longer live")


@rule("STAGE-12")
async def ends_live_completions(trial: Trial) -> None:
    """A stage that makes live completions has ended each when `process` is over, also where it is cut off."""
    async with trial.opened(live=True) as stage:
        if inspect.isasyncgenfunction(stage.process):
            for cut in (True, False):
                for live in await _live_parts(trial, stage, cut):
                    demand(not live.is_live, "a completion is still live after `process` has ended")


async def _live_parts(trial: Trial, stage: Any, cut: bool) -> list[Completion]:
    found: list[Completion] = []

    async def read() -> None:
        parts = stage.process(trial.records(stage)[0])
        async for part in parts:
            made = [v for v in part.values() if isinstance(v, Completion) and v.is_live]
            for completion in made:
                completion.abandon()
            found.extend(made)
            if cut:
                break
        await parts.aclose()

    await attempt(trial, read(), "`process`")
    return found


async def _processed(trial: Trial, stage: Any, record: Record) -> Any:
    return await attempt(trial, _leniently(stage, record), "`process`")


async def _leniently(stage: Any, record: Record) -> Any:
    """Process a record; what fails gives no result, and is looked at by other rules."""
    with suppress(Exception):
        return await call(stage.process, record)


async def _all_parts(trial: Trial, stage: Any) -> list[Record]:
    parts = []
    for record in trial.records(stage):
        parts += _legal_parts(await _processed(trial, stage, record))
    return parts


def _legal_parts(result: Any) -> list[Record]:
    try:
        return parts_of(result)
    except Breach:
        return []  # that is for another rule


STAGE_RULES: Final = (
    gives_a_result,
    writes_what_it_declares,
    reads_what_it_declares,
    uses_its_ports,
    raises_record_errors,
    keeps_no_record,
    changes_no_value,
    keeps_records_apart,
    lets_cancellation_through,
    survives_cancellation,
    passes_live_completions,
    ends_live_completions,
)
