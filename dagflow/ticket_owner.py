"""TicketOwner: who accepted a record, and is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dagflow.record import Outcome, Record, Ticket


class TicketOwner(Protocol):
    """Who accepted a record: is told its outcome, and can have it cancelled."""

    def on_settled(self, ticket: Ticket, outcome: Outcome) -> None:
        """Take the outcome; called once for each ticket."""

    def on_split(self, ticket: Ticket, count: int) -> None:
        """Learn that a stage made `count` more records of one."""

    def on_cancel(self, ticket: Ticket) -> None:
        """Take the ticket's records out of the channels and interrupt work on them."""

    def on_answer(self, ticket: Ticket, answer: Record) -> None:
        """Take the first answer that a sink hands back; its completion may be live."""
