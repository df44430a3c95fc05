"""dagflow inside somebody's program: the same engine, with a source that is the caller.

    async with dagflow.open("pipeline.toml") as pipeline:
        result = await pipeline.submit({"input": "Why is the sky blue?"})

`open` puts the caller in the place of the file's sources; `run` is the blocking form of
`dagflow run`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread

from dagflow.admin.listener import serving
from dagflow.compile import compile_file
from dagflow.completion import Completion
from dagflow.engine.caller import CallerSource
from dagflow.engine.engine import Engine
from dagflow.engine.supervise import run_blocking
from dagflow.errors import NotDelivered, RecordError
from dagflow.exchange import Chunk
from dagflow.record import Outcome, Record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from dagflow.engine.caller import Result
    from dagflow.graph.plan import Plan


class Pipeline:
    """A running pipeline that takes records from its program."""

    def __init__(self, engine: Engine, sources: Mapping[str, CallerSource]) -> None:
        self._engine = engine
        self._sources = sources

    @property
    def plan(self) -> Plan:
        """The plan that runs."""
        return self._engine.plan

    async def submit(self, record: Record | Mapping[str, Any], *, source: str | None = None) -> Result:
        """Send one record through and wait for its end. Cancelling this cancels the record.

        Args:
            record: a `Record`, or its fields.
            source: the source of the file whose place the caller takes; by default the first.

        Raises:
            PipelineClosed: the pipeline drains or has ended; the record was not accepted.
            ValueError: there is no such source, or the record's priority or deadline is no number.
            TypeError: the record is no mapping.
        """
        entrance = self._entrance(source)
        submission = entrance.submit(_as_record(record))
        try:
            return await submission.settled
        finally:
            entrance.withdraw(submission)

    async def stream(
        self, record: Record | Mapping[str, Any], *, source: str | None = None, field: str = "completion"
    ) -> AsyncIterator[Chunk]:
        """Send one record through and give the chunks of its completion as they come.

        Live where every node after the inference stage forwards streams; otherwise the whole
        comes as one chunk. `field` names the field of the answer to stream: a completion or text.

        Raises:
            NotDelivered: the record ended in another outcome, maybe after some chunks.
            PipelineClosed, ValueError, TypeError: the record was not accepted, as for `submit`.
        """
        entrance = self._entrance(source)
        submission = entrance.submit(_as_record(record), streams=True)
        broken = None
        try:
            await asyncio.wait([submission.answered, submission.settled], return_when=asyncio.FIRST_COMPLETED)
            answer = None if submission.answered.cancelled() else submission.answered.result()
            async with aclosing(_chunks_of(answer, field)) as chunks:
                try:
                    async for chunk in chunks:
                        yield chunk
                except RecordError as error:  # how the record ended says more
                    broken = error
            result = await submission.settled
            if broken is not None or result.outcome is not Outcome.DELIVERED:
                raise NotDelivered(result.outcome, result.error or broken) from broken
        finally:
            entrance.withdraw(submission)

    def report(self) -> dict[str, Any]:
        """Give the run report as of now."""
        return self._engine.report()

    def _entrance(self, source: str | None) -> CallerSource:
        if source is None:
            return next(iter(self._sources.values()))
        if source not in self._sources:
            raise ValueError(f"no source `{source}`; the file has {', '.join(self._sources)}")
        return self._sources[source]


@asynccontextmanager
async def open(path: str | Path, *, overrides: Sequence[str] = ()) -> AsyncIterator[Pipeline]:
    """Run a pipeline inside this program, which takes the place of the file's sources.

    Leaving the block drains: records in flight end within the file's `drain_timeout`. An error
    that leaves the block cancels them.

    Raises:
        ConfigError: the file is invalid.
        OpenFailed: a plugin could not be opened.
        AdminError: the file has an `[admin]` listener that can't listen.
    """
    plan = await to_thread.run_sync(lambda: compile_file(path, overrides))
    async with open_plan(plan) as pipeline:
        yield pipeline


@asynccontextmanager
async def open_plan(plan: Plan) -> AsyncIterator[Pipeline]:
    """Like `open`, for a plan that is compiled already."""
    sources = {node.name: CallerSource() for node in plan.of_kind("source")}
    engine = Engine(plan, substitutes=sources)
    async with serving(engine), _running(engine):
        yield Pipeline(engine, sources)


@asynccontextmanager
async def _running(engine: Engine) -> AsyncIterator[None]:
    """Run an engine beside the block, and drain it at its end."""
    run = asyncio.ensure_future(engine.run())
    started = asyncio.ensure_future(engine.started.wait())
    try:
        await asyncio.wait([run, started], return_when=asyncio.FIRST_COMPLETED)
        if run.done():
            run.result()
        yield
        engine.stop("closed by the program")
    finally:
        started.cancel()
        if engine.stopped_by is None and not run.done():
            engine.force("the program left with an error")
        await _see_to_its_end(engine, run)
    run.result()


async def _see_to_its_end(engine: Engine, run: asyncio.Future[Any]) -> None:
    """Wait for the run, whatever happens: a task that is cancelled meanwhile waits no longer for the drain."""
    interruption = None
    with anyio.CancelScope(shield=True):  # from anyio's cancellations, not from those of asyncio
        while not run.done():
            try:
                await asyncio.wait([run])
            except asyncio.CancelledError as caught:
                interruption = caught
                engine.force("the program was cancelled")
    if interruption is not None:
        raise interruption


def run(path: str | Path, *, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Run a pipeline to its end and give the report. SIGINT and SIGTERM drain it, a second one cancels.

    Raises:
        ConfigError: the file is invalid.
        OpenFailed: a plugin could not be opened.
        AdminError: the file has an `[admin]` listener that can't listen.
    """
    return run_blocking(compile_file(path, overrides), company=serving)


def _as_record(record: Record | Mapping[str, Any]) -> Record:
    if not isinstance(record, Mapping):
        raise TypeError(f'a record is a mapping of fields, such as {{"input": "..."}}, not a `{type(record).__name__}`')
    return record if isinstance(record, Record) else Record(record)


async def _chunks_of(answer: Record | None, field: str) -> AsyncIterator[Chunk]:
    if answer is None:
        return
    # While an answer streams, stage `post` has not written the mirror of its text yet.
    value = answer.get(field, answer.get("completion", answer.get("text", "")))
    if isinstance(value, Completion):
        async with aclosing(value.chunks()) as chunks:
            async for chunk in chunks:
                yield chunk
    else:
        yield Chunk(str(value), "stop")
