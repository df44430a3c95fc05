"""SourceRunner: one source at work. Accepts its records, and tells it their outcomes.

Not asking for the next record is the only back-pressure a source knows. A record that was
accepted is handed on even while the source is being stopped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from anyio import CancelScope

from dagflow.channel.doorbell import Doorbell
from dagflow.engine.faults import as_record_error, is_interruption
from dagflow.engine.slot import SLICE
from dagflow.errors import NotAStageResult, WouldBlock, describe
from dagflow.plugin import Source
from dagflow.record import Outcome, Record, Ticket, UnreadableInput

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from dagflow.engine.book import Book
    from dagflow.engine.faults import Faults
    from dagflow.engine.outlet import Outlet
    from dagflow.graph.plan import NodePlan
    from dagflow.plugin import Source as SourcePlugin


class SourceRunner:
    """A source, opened, with its outlets; owns the tickets of its records.

    Attributes:
        ended: whether it was read to its end.
        taken, failed: records accepted; those that failed here, as no record could be made of them
            or no edge took them.
        error: what `records` raised, if it did.
    """

    def __init__(
        self,
        plan: NodePlan,
        plugin: SourcePlugin,
        outlets: Mapping[str | None, Outlet],
        book: Book,
        faults: Faults,
        on_cancel: Callable[[Ticket], None],
        log: Any,
    ) -> None:
        self.plan = plan
        self.plugin = plugin
        self.outlets = outlets
        self.ended = False
        self.taken = self.failed = 0
        self.error: BaseException | None = None
        self._book = book
        self._faults = faults
        self._cancel = on_cancel
        self._log = log
        self._scope: CancelScope | None = None
        self._stopped = False
        self._settles = type(plugin).settle is not Source.settle
        self._settling: deque[tuple[Awaitable[None], Record]] = deque()
        self._settling_bell = Doorbell()
        self._settled_all = False

    async def run(self) -> None:
        """Hand records in until the source ends or is stopped."""
        with CancelScope() as self._scope:
            try:
                async with _closing(self.plugin.records()) as records:
                    await self._read(records)
            except BaseException as error:
                if is_interruption(error):
                    raise
                self.error = error
                self._log.error("source failed", node=self.plan.name, error=describe(error), exc_info=error)
            else:
                self.ended = not self._stopped

    def stop(self) -> None:
        """Ask for no more records."""
        self._stopped = True
        if self._scope is not None:
            self._scope.cancel()

    def on_settled(self, ticket: Ticket, outcome: Outcome) -> None:
        """Take a ticket's outcome into the book, and tell the source."""
        self._book.settle(ticket, outcome)
        record = ticket.record
        told = self._tell(record, outcome) if self._settles else None
        if told is None:
            record.ticket = None  # or the two would keep each other until the next garbage collection
        else:
            self._settling.append((told, record))
            self._settling_bell.ring()

    def on_split(self, ticket: Ticket, count: int) -> None:
        """Count further records as in flight."""
        self._book.split(count)

    def on_cancel(self, ticket: Ticket) -> None:
        """Have a ticket's records cancelled."""
        self._cancel(ticket)

    def on_answer(self, ticket: Ticket, answer: Record) -> None:
        """Hand an answer back to the source."""
        self.plugin.on_answer(ticket.record, answer)

    def end_failed(self, record: Record, error: Exception) -> None:
        """End a record that could not leave the source."""
        self.failed += 1
        failure = as_record_error(error, self.plan.name)
        self._faults.note(record, failure)
        record.ticket.end(Outcome.FAILED, failure)

    async def settle_pending(self) -> None:
        """Await what a `settle` that is a coroutine function returns, in order, until the last record."""
        while True:
            while self._settling:
                told, record = self._settling.popleft()
                try:
                    await told
                except BaseException as error:
                    if is_interruption(error):
                        raise
                    self._on_settle_raised(error)
                record.ticket = None
            if self._settled_all:
                return
            await self._settling_bell.wait()

    def finish_settling(self) -> None:
        """Let `settle_pending` return when it has told all outcomes."""
        self._settled_all = True
        self._settling_bell.ring()

    async def _read(self, records: AsyncIterator[Record]) -> None:
        book, live, limit = self._book, self._book.live, self._book.max_in_flight
        main = self.outlets.get(None)
        direct = None if main is None or self.plan.ports else main.direct
        send_nowait = None if direct is None else direct.send_nowait
        cancellable = self.plugin.can_cancel
        budget = SLICE
        if not book.has_room:
            await book.wait_for_room()
        async for record in records:
            ticket = record.ticket = Ticket(record, self)
            if cancellable:
                ticket.running = set()
            self.taken += 1
            book.accepted += 1
            live.add(ticket)
            if send_nowait is None or record.__class__ is UnreadableInput:
                await self._dispatch(record)
            else:
                try:
                    send_nowait(record)
                except WouldBlock:
                    with CancelScope(shield=True):
                        await direct.send(record)
            budget -= 1
            if not budget:
                budget = SLICE
                await asyncio.sleep(0)
            if len(live) + book.extra >= limit:
                await book.wait_for_room()
            if self._stopped:
                return

    async def _dispatch(self, record: Record) -> None:
        if isinstance(record, UnreadableInput):
            self.end_failed(record, record.error)
            return
        port, record.port = record.port, None
        outlet = self.outlets.get(port)
        if outlet is None:
            self.end_failed(record, NotAStageResult(f"a record for the port {port!r}"))
            return
        with CancelScope(shield=True):
            await outlet.send(record)

    def _tell(self, record: Record, outcome: Outcome) -> Awaitable[None] | None:
        try:
            return self.plugin.settle(record, outcome)
        except Exception as error:
            self._on_settle_raised(error)
            return None

    def _on_settle_raised(self, error: BaseException) -> None:
        self._log.error("settle raised", node=self.plan.name, error=describe(error), exc_info=error)


@asynccontextmanager
async def _closing(records: AsyncIterator[Record]) -> AsyncIterator[AsyncIterator[Record]]:
    """Close the iterator at the end, where it can be closed: an iterator need not be a generator."""
    try:
        yield records
    finally:
        if hasattr(records, "aclose"):
            await records.aclose()
