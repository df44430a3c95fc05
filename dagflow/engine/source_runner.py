"""SourceRunner: one source at work. Accepts its records, and owns their tickets.

Not asking for the next record is the only back-pressure a source knows. A record that was
accepted is handed on even while the source is being stopped.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final

from anyio import CancelScope

from dagflow.engine.faults import as_record_error, is_interruption, unknown_port
from dagflow.engine.postbox import accepted_from
from dagflow.engine.results import SLICE
from dagflow.engine.telling import Telling
from dagflow.errors import WouldBlock, describe
from dagflow.live_values import abandon_live
from dagflow.plugin import Source
from dagflow.record import Outcome, Record, RefusedInput, Ticket, UnreadableInput
from dagflow.telemetry.genai import WORKFLOW_BOUNDS
from dagflow.telemetry.instruments import Distribution, Histogram
from dagflow.trail import Trail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from dagflow.engine.book import Book
    from dagflow.engine.checkpointing import Checkpointing
    from dagflow.engine.faults import Faults
    from dagflow.engine.mark import Mark
    from dagflow.engine.outlet import Outlet
    from dagflow.engine.place import Place
    from dagflow.engine.postbox import Postbox
    from dagflow.graph.plan import NodePlan
    from dagflow.telemetry.tracing import Tracer

_LOST: Final = frozenset({Outcome.FAILED, Outcome.EXPIRED, Outcome.SHED})
_workflow_durations: Final = partial(Distribution, WORKFLOW_BOUNDS)


class SourceRunner:
    """A source, opened, with its outlets; owns the tickets of its records.

    Attributes:
        ended: whether it was read to its end.
        taken, failed: records accepted; those that failed here, as no record could be made of them
            or no edge took them.
        error: what `records` raised, if it did.
        durations, workflow_durations: by outcome, how long records took from acceptance to their end; of those that
            have trails; the latter in seconds, with the bounds of the conventions for generative AI.
        telling: tells the source its outcomes.
    """

    def __init__(
        self,
        plan: NodePlan,
        plugin: Source,
        outlets: Mapping[str | None, Outlet],
        place: Place,
        postbox: Postbox,
        book: Book,
        faults: Faults,
        on_cancel: Callable[[Ticket], None],
        log: Any,
        tracer: Tracer | None = None,
        checkpoint: Checkpointing | None = None,
    ) -> None:
        self.plan = plan
        self.plugin = plugin
        self.outlets = outlets
        self.place = place
        self.postbox = postbox
        self.ended = False
        self.taken = self.failed = 0
        self.error: BaseException | None = None
        self.durations: defaultdict[Outcome, Histogram] = defaultdict(Histogram)
        self.workflow_durations: defaultdict[Outcome, Distribution] = defaultdict(_workflow_durations)
        self.telling = Telling(plan.name, plugin, book, log)
        self._book = book
        self._faults = faults
        self._cancel = on_cancel
        self._log = log
        self._tracer = tracer
        self._checkpoint = checkpoint if plugin.resumable else None
        self._takes_over = plugin.takes_over
        self._scope: CancelScope | None = None
        self._stopped = False
        self._settles = False
        self._knows_progress = True
        book.sources += 1

    async def run(self) -> None:
        """Hand records in until the source ends or is stopped."""
        self._settles = getattr(self.plugin.settle, "__func__", None) is not Source.settle
        with CancelScope() as self._scope:
            if self._stopped:
                return
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

    @property
    def progress(self) -> float | None:
        """What the source says of its progress; None from the first time on that it cannot be asked."""
        try:
            return self.plugin.progress() if self._knows_progress else None
        except Exception as error:
            self._knows_progress = False
            self._log.warning("progress raised", node=self.plan.name, error=describe(error), exc_info=error)
            return None

    def room(self, record: Record) -> int:
        """How many records like this one would be taken now without waiting."""
        outlet = self.outlets.get(record.port)
        return self._book.room if outlet is None else min(self._book.room, outlet.room(record))

    def on_settled(self, ticket: Ticket, outcome: Outcome) -> None:
        """Take a ticket's outcome into the book, and tell the source; first keep what it could not leave open."""
        if outcome in _LOST and ticket.kept is None and ticket.accepted is not None and self.plugin.in_order:
            self.postbox.keep(ticket, outcome, partial(self._settle, ticket, outcome))
        else:
            self._settle(ticket, outcome)

    def _settle(self, ticket: Ticket, outcome: Outcome) -> None:
        if self._takes_over and ticket.is_cut_off(outcome):
            self._book.give_back(ticket)
        else:
            self._book.settle(ticket, outcome)
        if ticket.far is not None and outcome is Outcome.HANDED_OFF:
            outcome, ticket.error = ticket.far, ticket.far_error  # what is told here, and counted there
        if ticket.trail is not None:
            took_ns = perf_counter_ns() - ticket.trail.accepted_ns
            self.durations[outcome].observe(took_ns)
            self.workflow_durations[outcome].observe(took_ns / 1e9)
        if ticket.mark is not None:
            self._checkpoint.note_settled(ticket, outcome)
        if self._tracer is not None:
            self._tracer.end(ticket, outcome, self.plugin.serves)
        if self._settles:
            self.telling.tell(ticket, outcome)
        else:
            ticket.let_go()

    def on_split(self, ticket: Ticket, count: int) -> None:
        """Count further records as in flight."""
        self._book.split(count)

    def on_cancel(self, ticket: Ticket) -> None:
        """Have a ticket's records cancelled."""
        self._cancel(ticket)

    def on_answer(self, ticket: Ticket, answer: Record) -> None:
        """Hand an answer back to the source; it is delivered whatever the source does with it."""
        try:
            self.plugin.on_answer(ticket.record, answer)
        except Exception as error:
            self._log.error("on_answer raised", node=self.plan.name, error=describe(error), exc_info=error)
            abandon_live(answer.values())

    def end_failed(self, record: Record, error: Exception, _origin: Record | None = None) -> None:
        """End a record that could not leave the source."""
        self.failed += 1
        failure = self._faults.note(record, as_record_error(error, self.plan.name))
        self.postbox.post(record, Outcome.FAILED, failure)

    async def _read(self, records: AsyncIterator[Record]) -> None:
        book, live, limit = self._book, self._book.live, self._book.max_in_flight
        direct = None if self.plan.ports else self.outlets[None].direct
        send_nowait = None if direct is None else direct.send_nowait
        marked = self.plugin.can_cancel or self.postbox.keeps or self.plugin.serves or self._tracer is not None
        shared, checkpoint = book.sources > 1, self._checkpoint
        budget = SLICE
        if not book.has_room:
            await book.wait_for_room()
        async for record in records:
            if shared and not book.has_room:  # while this source was asked, another one took the last place
                with CancelScope(shield=True):
                    await book.wait_for_room()
            mark = None if checkpoint is None else checkpoint.admit(self.plan.name, record)
            if mark is None and checkpoint is not None:  # it is done
                budget -= 1
                if not budget:
                    budget = SLICE
                    await asyncio.sleep(0)
                continue
            if mark is not None and mark.is_suspect:
                async with book.nothing_else():
                    await self._dispatch(self._accept(record, mark, marked))
                continue
            record = self._accept(record, mark, marked)
            if send_nowait is None or record.__class__ is not Record or record.port is not None:
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

    def _accept(self, record: Record, mark: Mark | None, marked: bool) -> Record:
        """Give a record its ticket, and count it; gives the record that goes on."""
        if record.ticket is not None:  # the source hands in one object again and again
            record = record.copy()
        if mark is not None and mark.error is not None:
            record, record.key = RefusedInput(mark.error, record), mark.key
        ticket = record.ticket = Ticket(record, self)
        ticket.mark = mark
        ticket.repeats = mark is not None or self.plugin.gives_back
        if marked:
            self._mark(ticket)
        self.taken += 1
        if self._takes_over:
            self._book.take_over(ticket)
        else:
            self._book.enter(ticket)
        return record

    def _mark(self, ticket: Ticket) -> None:
        ticket.waits = self.plugin.serves
        if self.plugin.can_cancel:
            ticket.running = set()
        if self._tracer is not None:
            ticket.trail = self._tracer.begin(ticket.record)
        elif self.plugin.serves:
            ticket.trail = Trail()
        if self.postbox.keeps:
            ticket.accepted = accepted_from(self.plan.name, ticket.record, self.plugin.gives_back)

    async def _dispatch(self, record: Record) -> None:
        if isinstance(record, UnreadableInput):
            self.end_failed(record, record.error)
            return
        port, record.port = record.port, None
        outlet = self.outlets.get(port)
        if outlet is None:
            self.end_failed(record, unknown_port(port))
            return
        with CancelScope(shield=True):
            await outlet.send(record)


@asynccontextmanager
async def _closing(records: AsyncIterator[Record]) -> AsyncIterator[AsyncIterator[Record]]:
    """Close the iterator at the end, where it can be closed: an iterator need not be a generator."""
    try:
        yield records
    finally:
        if hasattr(records, "aclose"):
            await records.aclose()
