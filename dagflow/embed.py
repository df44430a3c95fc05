"""dagflow inside somebody's program: the same engine, with a source that is the caller.

    async with dagflow.open("pipeline.toml") as pipeline:
        result = await pipeline.submit({"input": "Why is the sky blue?"})

`open` puts the caller in the place of the file's sources; `run` is the blocking form of
`dagflow run`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread

from dagflow.channel.doorbell import Doorbell
from dagflow.compile import compile_file
from dagflow.completion import Chunk, Completion, abandon_live
from dagflow.engine.engine import Engine
from dagflow.engine.supervise import run_blocking
from dagflow.errors import NotDelivered, PipelineClosed, RecordError
from dagflow.plugin import Source
from dagflow.record import Outcome, Record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from dagflow.graph.plan import Plan


@dataclass(frozen=True, slots=True)
class Result:
    """How a submitted record ended.

    Attributes:
        outcome: one of the six.
        record: the answer that a `reply` sink gave, else the record as the first sink took it;
            None if no sink did.
        error: why it failed or expired, where it did.
    """

    outcome: Outcome
    record: Record | None
    error: RecordError | None


class _Submission(Record):
    """A submitted record, and who waits for what; `answered` only for who streams the answer."""

    __slots__ = ("answered", "settled")

    def __init__(self, record: Record, streams: bool) -> None:
        super().__init__(record, record.id, record.session, record.priority, record.deadline, record.meta)
        loop = asyncio.get_running_loop()
        self.answered: asyncio.Future[Record | None] | None = loop.create_future() if streams else None
        self.settled: asyncio.Future[Result] = loop.create_future()


class CallerSource(Source):
    """Hands in what the program submits; each caller waits, so nothing queues up unseen."""

    finite = False
    can_cancel = True

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[_Submission] = deque()
        self._bell = Doorbell()
        self._count = 0
        self._closed = False

    def submit(self, record: Record, streams: bool = False) -> _Submission:
        """Line a record up for acceptance.

        Raises:
            PipelineClosed: nothing is accepted any more.
            ValueError: its priority or its deadline is no number.
        """
        if self._closed:
            raise PipelineClosed
        if not isinstance(record.priority, int | float):
            raise ValueError(f"`priority` should be a number, but is `{record.priority!r}`")
        if not isinstance(record.deadline, int | float | None):
            expected = "a point on the clock `time.monotonic`, in seconds"
            raise ValueError(f"`deadline` should be {expected}, but is `{record.deadline!r}`")
        submission = _Submission(record, streams)
        self._count += 1
        submission.id = submission.id or f"{self.context.name}:{self._count}"
        self._waiting.append(submission)
        self._bell.ring()
        return submission

    def withdraw(self, submission: _Submission) -> None:
        """Take a record back: out of the line, or by cancelling it."""
        if submission in self._waiting:
            self._waiting.remove(submission)
        elif submission.ticket is not None:  # it has not settled yet
            submission.ticket.cancel()

    async def records(self) -> AsyncIterator[Record]:
        """Give the submitted records in the order of their submission, until the pipeline drains."""
        try:
            while True:
                while self._waiting:
                    yield self._waiting.popleft()
                await self._bell.wait()
        finally:
            self._refuse()

    def on_answer(self, record: Record, answer: Record) -> None:
        """Pass the answer on to whoever streams it; who only submits wants the whole."""
        if record.answered is None or record.answered.done():
            abandon_live(answer.values())
        else:
            record.answered.set_result(answer)

    def settle(self, record: Record, outcome: Outcome) -> None:
        """Tell the caller how its record ended."""
        ticket = record.ticket
        if record.answered is not None and not record.answered.done():
            record.answered.set_result(ticket.delivered)
        if not record.settled.done():
            answer = ticket.delivered if ticket.answer is None else ticket.answer
            record.settled.set_result(Result(outcome, answer, ticket.error))

    async def close(self) -> None:
        """Refuse those who came before the first record was asked for."""
        self._refuse()

    def _refuse(self) -> None:
        """Accept nothing more; whoever waits to be accepted is told."""
        self._closed = True
        while self._waiting:
            submission = self._waiting.popleft()
            if submission.answered is not None:
                submission.answered.cancel()
            if not submission.settled.done():
                submission.settled.set_exception(PipelineClosed())


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
            PipelineClosed, ValueError: the record was not accepted, as for `submit`.
        """
        entrance = self._entrance(source)
        submission = entrance.submit(_as_record(record), streams=True)
        try:
            await asyncio.wait([submission.answered, submission.settled], return_when=asyncio.FIRST_COMPLETED)
            answer = None if submission.answered.cancelled() else submission.answered.result()
            broken = None
            if answer is not None:
                try:
                    async with aclosing(_chunks_of(answer, field)) as chunks:
                        async for chunk in chunks:
                            yield chunk
                except RecordError as error:
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
    """
    plan = await to_thread.run_sync(lambda: compile_file(path, overrides))
    async with open_plan(plan) as pipeline:
        yield pipeline


@asynccontextmanager
async def open_plan(plan: Plan) -> AsyncIterator[Pipeline]:
    """Like `open`, for a plan that is compiled already."""
    sources = {node.name: CallerSource() for node in plan.of_kind("source")}
    engine = Engine(plan, substitutes=sources)
    run = asyncio.ensure_future(engine.run())
    started = asyncio.ensure_future(engine.started.wait())
    try:
        await asyncio.wait([run, started], return_when=asyncio.FIRST_COMPLETED)
        if run.done():
            run.result()
        yield Pipeline(engine, sources)
        engine.stop("closed by the program")
    finally:
        started.cancel()
        if engine.stopped_by is None and not run.done():
            engine.force("the program left with an error")
        with anyio.CancelScope(shield=True):
            await asyncio.wait([run])
    run.result()


def run(path: str | Path, *, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Run a pipeline to its end and give the report. SIGINT and SIGTERM drain it, a second one cancels.

    Raises:
        ConfigError: the file is invalid.
        OpenFailed: a plugin could not be opened.
    """
    return run_blocking(compile_file(path, overrides))


def _as_record(record: Record | Mapping[str, Any]) -> Record:
    return record if isinstance(record, Record) else Record(record)


async def _chunks_of(answer: Record, field: str) -> AsyncIterator[Chunk]:
    value = answer.get(field, answer.get("text", ""))
    if isinstance(value, Completion):
        async with aclosing(value.chunks()) as chunks:
            async for chunk in chunks:
                yield chunk
    else:
        yield Chunk(str(value), "stop")
