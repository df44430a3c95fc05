"""Heir: owns the tickets of records that an earlier run accepted, and that this one has taken over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.engine.postbox import accepted_from
from dagflow.live_values import abandon_live
from dagflow.record import Outcome, Record, Ticket
from dagflow.ticket_owner import TicketOwner

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagflow.engine.book import Book
    from dagflow.engine.checkpointing import Checkpointing
    from dagflow.engine.mark import Mark
    from dagflow.graph.plan import NodePlan


class Heir(TicketOwner):
    """Stands in for a source that has never seen these records, and so is not told of them either."""

    def __init__(
        self,
        plan: NodePlan,
        book: Book,
        checkpoint: Checkpointing | None,
        on_cancel: Callable[[Ticket], None],
        keeps: bool,
    ) -> None:
        """Take the source, and what a run has; `keeps` is whether letters are kept."""
        self.plan = plan
        self._keeps = keeps
        self._book = book
        self._checkpoint = checkpoint
        self._cancel = on_cancel

    def take_over(self, record: Record, mark: Mark | None) -> None:
        """Make a ticket of a record."""
        ticket = record.ticket = Ticket(record, self)
        ticket.mark = mark
        if self._keeps:
            ticket.accepted = accepted_from(self.plan.name, record)
        self._book.take_over(ticket)

    def on_settled(self, ticket: Ticket, outcome: Outcome) -> None:
        self._book.settle(ticket, outcome)
        if ticket.mark is not None:
            self._checkpoint.note_settled(ticket, outcome)
        ticket.let_go()

    def on_split(self, ticket: Ticket, count: int) -> None:
        self._book.split(count)

    def on_cancel(self, ticket: Ticket) -> None:
        self._cancel(ticket)

    def on_answer(self, ticket: Ticket, answer: Record) -> None:
        """Nobody waits for it any more."""
        abandon_live(answer.values())
