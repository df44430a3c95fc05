"""Trial: one rule tried on one sample. It builds, opens and feeds the plugin, and looks at no rule itself."""

from __future__ import annotations

import asyncio
import copy
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from dagflow.config.shape import named_workers
from dagflow.errors import describe
from dagflow.live_values import abandon_live
from dagflow.record import Record, Ticket
from dagflow.testing.alone import build_context, read_options
from dagflow.testing.conformance.rule import Breach
from dagflow.testing.conformance.sample import Sample, sample_record, sample_requests
from dagflow.testing.scripted import Answer, ScriptedWorker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from pathlib import Path

    from dagflow.exchange import Request
    from dagflow.plugin import Context
    from dagflow.record import Outcome

T = TypeVar("T")


class TracedRecord(Record):
    """A record of which a test can tell whether anybody keeps it."""

    __slots__ = ("__weakref__",)


class SampleOwner:
    """Owns the tickets of records that are tried: nobody waits for their outcomes or answers."""

    def on_settled(self, ticket: Ticket, outcome: Outcome) -> None:
        """Take the outcome."""

    def on_split(self, ticket: Ticket, count: int) -> None:
        """Learn of a split."""

    def on_cancel(self, ticket: Ticket) -> None:
        """Learn of a cancellation."""

    def on_answer(self, ticket: Ticket, answer: Record) -> None:
        """Take an answer; nobody reads it."""
        abandon_live(answer.values())


class _Agreeable(ScriptedWorker):
    """Answers anything, after a turn of the event loop, so that a stage has to wait for it."""

    def _next(self, request: Request) -> Answer:
        return Answer(f"An answer to: {request.text}")


@dataclass(slots=True)
class Trial:
    """A sample, and a folder that is this trial's alone."""

    sample: Sample
    folder: Path

    def prepare(self) -> None:
        """Put the sample's files into the folder."""
        for name, content in self.sample.files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def options(self) -> Any:
        """Validate the sample's options.

        Raises:
            Breach: they are not valid.
        """
        try:
            return read_options(self.sample.cls, self.sample.options, self.folder)
        except Exception as error:
            raise Breach(f"the options of the sample are refused: {describe(error)}") from error

    def build(self) -> Any:
        """Build a plugin."""
        return self.sample.cls(self.options()) if self.sample.build is None else self.sample.build()

    def context(self, plugin: Any, live: bool = False, position: Any = None) -> Context:
        """Build the context in which a plugin is opened, with the workers that it names."""
        names = {str(leaf.value) for leaf in named_workers(plugin.options)}
        workers = {name: self.sample.workers.get(name) or _Agreeable() for name in names}
        context = build_context("sample", workers=workers, live=live)
        context.resumes, context.position = position is not None, position
        return context

    @asynccontextmanager
    async def opened(self, live: bool = False, position: Any = None) -> AsyncIterator[Any]:
        """Open a plugin for the block, at a position if one is given. How it closes is not looked at.

        Raises:
            Breach: it can't be opened.
        """
        plugin, feeding = self.build(), None
        try:
            try:
                await self.bounded(plugin.open(self.context(plugin, live, position)), "`open`")
            except Exception as error:
                raise Breach(f"it could not be opened: {describe(error)}") from error
            if self.sample.feed is not None:
                feeding = asyncio.ensure_future(self.sample.feed(plugin))
            yield plugin
        finally:
            with suppress(Exception):
                await self.bounded(plugin.close(), "`close`")
            if feeding is not None:
                feeding.cancel()
                await asyncio.wait([feeding])

    def records(self, plugin: Any) -> list[Record]:
        """Make new records for a stage or sink, each with a ticket."""
        given = self.sample.records or [sample_record(self.fields(plugin), number) for number in range(3)]
        return [self.record(one, number) for number, one in enumerate(given)]

    def record(self, given: Any, number: int = 0) -> Record:
        """Make a new record with a ticket from a record, or from its fields."""
        origin = given if isinstance(given, Record) else Record(given)
        values, id = copy.deepcopy(dict(origin)), origin.id or f"sample:{number}"
        record = TracedRecord(values, id, origin.session, origin.priority, origin.deadline, origin.meta)
        record.ticket = Ticket(record, SampleOwner())
        return record

    def fields(self, plugin: Any, choice: int = 0) -> set[str]:
        """Give what a record must have for a node: what it reads, and one of each group of which it reads any."""
        groups = [sorted(group) for group in plugin.reads_any() if group]
        return set(plugin.reads()).union(group[min(choice, len(group) - 1)] for group in groups)

    def requests(self) -> list[Request]:
        """Give what a worker is asked; new objects each time."""
        return copy.deepcopy(list(self.sample.requests)) or sample_requests()

    async def bounded(self, work: Awaitable[T], what: str) -> T:
        """Wait for something as long as the sample's patience lasts.

        Raises:
            Breach: it did not end.
        """
        task = asyncio.ensure_future(work)
        try:
            done, _ = await asyncio.wait([task], timeout=self.sample.patience_s)
        finally:
            task.cancel()
        if not done:
            await asyncio.wait([task], timeout=self.sample.patience_s)  # so that nothing runs on
            raise Breach(f"{what} did not end within {self.sample.patience_s:g} s")
        return task.result()
