"""Sink `reply`: hands each record back to whoever submitted it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.completion import Completion
from dagflow.plugin import Sink

if TYPE_CHECKING:
    from dagflow.record import Record


class Reply(Sink):
    """Answers the caller; a live completion is the caller's to read, and delivered when it has ended."""

    default_concurrency = 64  # a live answer holds its slot as long as it streams
    forwards_live = True
    answers = True
    parallel = True
    resumable = True  # whoever waited has gone with the program

    async def write(self, record: Record) -> None:
        ticket = record.ticket
        ticket.reply(record)
        completion = record.get("completion")
        if isinstance(completion, Completion):
            if ticket.answer.get("completion") is not completion:  # another attempt may have given this one
                completion.abandon()
            await completion.wait_ended()  # also one that has broken already: it is not delivered
            record.update(completion.fields)  # this may be a copy of the record that got them
