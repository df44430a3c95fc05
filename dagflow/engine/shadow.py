"""ShadowBook: the outcomes of what left over a best-effort edge.

Such a branch has a ticket of its own, so that it counts in the edge's books and never in the
outcome of the record, and nobody waits for it but the drain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.live_values import abandon_live
from dagflow.record import Outcome, Ticket

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagflow.engine.book import Book
    from dagflow.record import Record


class ShadowBook:
    """The books of one best-effort edge; owns the tickets of its branches."""

    __slots__ = ("_book", "_on_cancel", "live", "outcomes")

    def __init__(self, on_cancel: Callable[[Ticket], None], book: Book) -> None:
        self.outcomes = dict.fromkeys(Outcome, 0)
        self.live: set[Ticket] = set()
        self._on_cancel = on_cancel
        self._book = book

    def open_ticket(self, record: Record) -> Ticket:
        """Make the ticket of one branch; a sink that takes it has something of its record, too."""
        ticket = Ticket(record, self)
        ticket.mark = record.ticket.mark
        self.live.add(ticket)
        return ticket

    def on_settled(self, ticket: Ticket, outcome: Outcome) -> None:
        """Count how the branch ended."""
        self.live.remove(ticket)
        self.outcomes[outcome] += 1
        self._book.fork_off(ticket.handed_off)
        ticket.let_go()

    def on_split(self, ticket: Ticket, count: int) -> None:
        """Nothing waits for room here; the edge's capacity bounds these records."""

    def on_cancel(self, ticket: Ticket) -> None:
        """Take the branch out of the channels and interrupt work on it."""
        self._on_cancel(ticket)

    def on_answer(self, ticket: Ticket, answer: Record) -> None:
        """Nobody waits for the answer of a best-effort branch, nor reads its stream."""
        abandon_live(answer.values())
