"""The ticket book against a simple model: random branches, splits and ends."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from dagflow.engine.book import Book
from dagflow.record import Outcome, Record, Ticket

PRECEDENCE = ["failed", "expired", "shed", "cancelled", "handed off", "delivered", "filtered"]


class Owner:
    """Settles into a book, as a source's runner does."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.told: dict[Ticket, Outcome] = {}

    def on_settled(self, ticket, outcome):
        """Take an outcome; a second one for the same ticket is an error."""
        assert ticket not in self.told
        self.told[ticket] = outcome
        self.book.settle(ticket, outcome)

    def on_split(self, ticket, count):
        """Count split records."""
        self.book.split(count)


class BookMachine(RuleBasedStateMachine):
    """Accepts, forks, splits, releases and ends branches at random; a list of outcomes is the model."""

    tickets = Bundle("tickets")

    def __init__(self) -> None:
        super().__init__()
        self.book = Book(5)
        self.owner = Owner(self.book)
        self.model: dict[Ticket, tuple[int, int, list[str]]] = {}  # live branches, extra, outcomes so far

    @rule(target=tickets)
    def accept(self):
        """Enter a ticket."""
        ticket = Ticket(Record(), self.owner)
        self.book.enter(ticket)
        self.model[ticket] = (1, 0, [])
        return ticket

    @rule(ticket=tickets, count=st.integers(0, 3), split=st.booleans())
    def branch(self, ticket, count, split):
        """Add branches to a live ticket."""
        live, extra, ended = self.model[ticket]
        if live:
            (ticket.split if split else ticket.fork)(count)
            self.model[ticket] = (live + count, extra + (count if split else 0), ended)

    @rule(ticket=tickets, outcome=st.sampled_from(list(Outcome)))
    def end(self, ticket, outcome):
        """End a branch; ending one too many is refused."""
        live, extra, ended = self.model[ticket]
        if not live:
            with pytest.raises(RuntimeError):
                ticket.end(outcome)
            ticket.branches = 0
            return
        ticket.end(outcome)
        self.model[ticket] = (live - 1, extra, [*ended, outcome.value])

    @rule(ticket=tickets)
    def release(self, ticket):
        """End a branch without an outcome."""
        live, extra, ended = self.model[ticket]
        if live:
            ticket.release()
            self.model[ticket] = (live - 1, extra, ended)

    @invariant()
    def balances(self):
        """The book says what the model says."""
        settled = {t: ended for t, (live, _, ended) in self.model.items() if not live}
        assert self.book.accepted == len(self.model)
        assert len(self.book.live) == len(self.model) - len(settled)
        handed = [ended.count("handed off") for ended in settled.values()]
        outside = [self.owner.told[ticket] == "handed off" for ticket in settled]
        book = self.book
        assert sum(book.outcomes.values()) == len(settled) - sum(outside)
        assert (book.handed_off, book.forked) == (sum(handed), sum(handed) - sum(outside))
        assert book.accepted + book.forked == sum(book.outcomes.values()) + book.handed_off + len(book.live)
        assert self.book.extra == sum(extra for live, extra, _ in self.model.values() if live)
        assert self.book.has_room == (len(self.book.live) + self.book.extra < 5)
        for ticket, ended in settled.items():
            expected = min(ended, key=PRECEDENCE.index) if ended else "filtered"
            assert self.owner.told[ticket] == expected


BookMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBook = BookMachine.TestCase
