"""Upkeep: checks that stages and sinks share, of how they treat what they are given."""

from __future__ import annotations

import asyncio
import copy
import gc
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread

from dagflow.completion import Completion
from dagflow.errors import RecordError
from dagflow.record import Record
from dagflow.testing.conformance.calls import call
from dagflow.testing.conformance.rule import Breach, demand

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from dagflow.testing.conformance.trial import Trial

_TRIES: Final = 5
_ODD: Final[tuple[Any, ...]] = (None, 7, -0.5, True, "", "\0\ud800", [], [None], {}, {"": None}, Completion(""))


def odd_records(trial: Trial, node: Any) -> Iterator[Record]:
    """Give records with a field of an odd type or without it, and one without any fields."""
    for field in sorted(trial.fields(node)):
        for value in _ODD:
            record = trial.records(node)[0]
            record[field] = copy.deepcopy(value)
            yield record
        record = trial.records(node)[0]
        record.pop(field, None)
        yield record
    yield trial.record({})


async def check_reads(trial: Trial, node: Any, method: Callable[[Record], Any], what: str) -> None:
    """Find out whether a record is enough that has no more fields than the node declares to read.

    Raises:
        Breach: it fails, and with all fields it does not.
    """
    for full in trial.records(node):
        for few in _cut_down(node, full):
            # Several times in turn: some nodes fail by chance, and not for the lack of a field.
            tries = [
                await succeeds(trial, method, trial.record(full))
                and not await succeeds(trial, method, trial.record(few))
                for _ in range(_TRIES)
            ]
            found = f"{what} fails on a record with only {sorted(few)}, though it declares to read no more"
            demand(not all(tries), found)


async def succeeds(trial: Trial, method: Callable[[Record], Any], record: Record) -> bool:
    """Whether a method takes a record without an error."""
    try:
        await trial.bounded(call(method, record), "the call")
    except Exception:
        return False
    return True


def _cut_down(node: Any, record: Record) -> Iterator[Record]:
    """Give the record with no more fields than the node declares to read, for each way to have one of each group."""
    groups = [sorted(set(group) & record.keys()) for group in node.reads_any()]
    for choice in range(max(map(len, groups), default=1) or 1):
        names = set(node.reads()).union(group[min(choice, len(group) - 1)] for group in groups if group)
        fields = {name: value for name, value in record.items() if name in names}
        yield Record(fields, record.id, record.session, record.priority, record.deadline, record.meta)


async def check_errors(trial: Trial, start: Callable[[], Awaitable[Any]], what: str) -> None:
    """Call something that may raise, and look at what it raises.

    Raises:
        Breach: it did not end, raised what would end the program, or an error whose attributes are wrong.
    """

    async def guarded() -> BaseException | None:
        # In here, since a task lets `SystemExit` through to the whole loop.
        try:
            await start()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            return error
        return None

    error = await trial.bounded(guarded(), what)
    if error is None:
        return
    demand(isinstance(error, Exception), f"{what} raised `{type(error).__name__}`, which ends the program")
    if isinstance(error, RecordError):
        check_error(error, what)


def check_error(error: RecordError, what: str) -> None:
    """Look at the attributes of an error.

    Raises:
        Breach: one of them is wrong.
    """
    told = f"{what} raised `{type(error).__name__}`"
    demand(isinstance(error.code, str) and error.code, f"{told} whose `code` is `{error.code!r}`")
    demand(isinstance(error.retryable, bool), f"{told} whose `retryable` is `{error.retryable!r}`")
    wait = error.retry_after
    demand(wait is None or (isinstance(wait, int | float) and wait >= 0), f"{told} whose `retry_after` is `{wait!r}`")


async def check_kept(trial: Trial, node: Any, method: Callable[[Record], Any], what: str) -> None:
    """Find out whether records are kept when the method has returned.

    Raises:
        Breach: one is.
    """
    traces = [await _traced(trial, method, record) for record in trial.records(node)]
    await to_thread.run_sync(gc.collect)  # a thread lets go of one call when it takes the next
    kept = sum(trace() is not None for trace in traces)
    demand(not kept, f"after {what} has returned, {kept} of {len(traces)} records are kept")


async def _traced(trial: Trial, method: Callable[[Record], Any], record: Any) -> weakref.ref[Any]:
    with suppress(Exception):
        await trial.bounded(call(method, record), "the call")
    return weakref.ref(record)


async def check_values(trial: Trial, name: str) -> None:
    """Find out whether the values of records are changed in place, by a method or by what runs on after it.

    Raises:
        Breach: one is.
    """
    seen: list[tuple[str, Any, Any]] = []
    async with trial.opened() as node:
        for record in trial.records(node):
            seen += [(field, value, _snapshot(value)) for field, value in record.items()]
            with suppress(Exception):
                await trial.bounded(call(getattr(node, name), record), f"`{name}`")
        await asyncio.sleep(0)
    for field, value, before in seen:
        demand(_snapshot(value) == before, f"the value of `{field}` was changed in place")


def _snapshot(value: Any) -> Any:
    return value.as_dict() if isinstance(value, Completion) else copy.deepcopy(value)


def check_unchanged(record: Record, before: dict[str, Any], what: str) -> None:
    """Compare the fields of a record with what they were.

    Raises:
        Breach: some are others.
    """
    changed = sorted(name for name in before.keys() | record.keys() if before.get(name) is not record.get(name))
    if changed:
        raise Breach(f"{what} changed the field `{changed[0]}` of its record")
