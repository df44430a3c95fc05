"""Ending: a record's branch ends where it is, without having been handed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.completion import abandon_live

if TYPE_CHECKING:
    from dagflow.errors import RecordError
    from dagflow.record import Outcome, Record


def end_branch(record: Record, outcome: Outcome, error: RecordError | None = None) -> None:
    """End a branch whose record nobody will read on: a live completion in it must not wait for a reader."""
    abandon_live(record.values())
    record.ticket.end(outcome, error)
