"""Calls: uses a plugin as the engine would, whichever form its methods have."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread

from dagflow.errors import RecordError, describe
from dagflow.record import Outcome, Record, Ticket
from dagflow.testing.conformance.rule import Breach, demand
from dagflow.testing.conformance.trial import SampleOwner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from dagflow.exchange import Chunk, Request
    from dagflow.testing.conformance.trial import Trial

TAKE: Final = 20  # records of a source that are looked at, where its end does not matter
_TURNS: Final = (1, 2, 3, 5, 8, 13)  # of the event loop, after which something is cancelled


async def call(method: Callable[[Record], Any], record: Record) -> Any:
    """Call `process` or `write`, awaiting it or running it in a thread; what a generator yields is gathered."""
    if inspect.isasyncgenfunction(method):
        async with aclosing(method(record)) as parts:
            return [part async for part in parts]
    if inspect.iscoroutinefunction(method):
        return await method(record)
    return await to_thread.run_sync(method, record)


def parts_of(result: Any) -> list[Record]:
    """Give the records of a stage's result.

    Raises:
        Breach: it is no result.
    """
    if result is None:
        return []
    if isinstance(result, Record):
        return [result]
    legal = not isinstance(result, str | bytes | dict) and hasattr(result, "__iter__")
    demand(legal, f"`process` gave a `{type(result).__name__}`; expected a Record, None or an iterable of Records")
    parts = list(result)
    for part in parts:
        demand(isinstance(part, Record), f"`process` gave a `{type(part).__name__}` among its records")
    return parts


async def first_records(trial: Trial, source: Any, most: int = TAKE) -> list[Record]:
    """Read a source until its end, or until it has given so many records; each gets a ticket."""
    found: list[Record] = []
    records = source.records()
    try:
        while len(found) < most:
            try:
                record = await trial.bounded(anext(records), "the wait for the next record")
            except StopAsyncIteration:
                break
            found.append(record)
            if isinstance(record, Record):
                record.ticket = Ticket(record, SampleOwner())
    finally:
        if hasattr(records, "aclose"):
            with suppress(Exception):
                await trial.bounded(records.aclose(), "closing `records`")
    return found


async def chunks_of(worker: Any, request: Request) -> list[Chunk]:
    """Read a worker's stream to its end."""
    return [chunk async for chunk in worker.stream(request)]


async def attempt(trial: Trial, work: Coroutine[Any, Any, Any], what: str) -> Any:
    """Do something that may fail as the contract allows, with a `RecordError`; gives None then.

    Raises:
        Breach: it did not end, or failed otherwise.
    """
    try:
        return await trial.bounded(work, what)
    except RecordError:
        return None
    except Breach:
        raise
    except Exception as error:
        raise Breach(f"{what} raised {describe(error)}") from error


async def use(trial: Trial, plugin: Any) -> None:
    """Let a plugin do what it is there for, whatever comes of it."""
    with suppress(Exception):
        await _USES[trial.sample.kind](trial, plugin)


async def check_cancelled(trial: Trial, start: Callable[[], Coroutine[Any, Any, Any]], what: str) -> None:
    """Start something again and again, and cancel it at another moment each time.

    Raises:
        Breach: it went on, did not end, or raised something else.
    """
    for turns in _TURNS:
        task = asyncio.ensure_future(start())
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.done():
            task.exception()
            return
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=trial.sample.patience_s)
        if not done:
            await _give_up(task)
            raise Breach(f"{what} did not end when it was cancelled")
        if not task.cancelled():
            error = task.exception()
            did = "went on" if error is None else f"raised {describe(error)}"
            raise Breach(f"{what} {did} when it was cancelled, instead of letting `CancelledError` through")


async def _give_up(task: asyncio.Task[Any]) -> None:
    """Cancel until it helps, so that nothing runs on."""
    for _ in range(100):
        task.cancel()
        await asyncio.sleep(0)
        if task.done():
            return


async def _use_stage(trial: Trial, stage: Any) -> None:
    for record in trial.records(stage):
        with suppress(Exception):
            await trial.bounded(call(stage.process, record), "`process`")


async def _use_sink(trial: Trial, sink: Any) -> None:
    for record in trial.records(sink):
        with suppress(Exception):
            await trial.bounded(call(sink.write, record), "`write`")
    await trial.bounded(sink.flush(), "`flush`")


async def _use_source(trial: Trial, source: Any) -> None:
    for record in await first_records(trial, source):
        told = source.settle(record, Outcome.DELIVERED)
        if inspect.isawaitable(told):
            await trial.bounded(told, "`settle`")


async def _use_worker(trial: Trial, worker: Any) -> None:
    for request in trial.requests():
        with suppress(Exception):
            await trial.bounded(worker.infer(request), "`infer`")
            await trial.bounded(chunks_of(worker, request), "`stream`")


async def _use_transport(trial: Trial, transport: Any) -> None:
    """A transport only builds channels; they have rules of their own."""


async def _use_exporter(trial: Trial, exporter: Any) -> None:
    from dagflow.testing.conformance.exporters import use_exporter  # it checks with what stands here

    await use_exporter(trial, exporter)


_USES: Final = {
    "source": _use_source,
    "stage": _use_stage,
    "sink": _use_sink,
    "worker": _use_worker,
    "transport": _use_transport,
    "exporter": _use_exporter,
}


async def closing(iterator: AsyncIterator[Any], reads: int) -> None:
    """Read so many items of an iterator, then close it."""
    for _ in range(reads):
        if await anext(iterator, None) is None:
            break
    if hasattr(iterator, "aclose"):
        await iterator.aclose()
