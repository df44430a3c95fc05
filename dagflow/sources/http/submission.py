"""Submission: one record of a caller, from the door to its outcome, and who listens for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dagflow.live_values import abandon_live

if TYPE_CHECKING:
    from dagflow.errors import RecordError
    from dagflow.record import Outcome, Record
    from dagflow.trail import Trail


class Submission:
    """A record that somebody handed in.

    Attributes:
        listeners: how many callers wait for it; what nobody waits for is cancelled.
        streams: whether the first of them reads the chunks of a live answer.
        answered: the first answer; None if it ended without one.
        settled: set to how it ended; None if it was never taken, or the pipeline ended with it inside.
        answer, error: what the pipeline said of it, where it did.
        trail: what happened to it on its way; None before its acceptance.
        digest: of the request, where another one may come with the same idempotency key.
    """

    __slots__ = (
        "answer",
        "answered",
        "arrived_s",
        "digest",
        "error",
        "listeners",
        "record",
        "settled",
        "streams",
        "trail",
    )

    def __init__(self, record: Record, arrived_s: float, streams: bool) -> None:
        loop = asyncio.get_running_loop()
        self.record = record
        self.arrived_s = arrived_s
        self.streams = streams
        self.listeners = 0
        self.answered: asyncio.Future[Record | None] = loop.create_future()
        self.settled: asyncio.Future[Outcome | None] = loop.create_future()
        self.answer: Record | None = None
        self.error: RecordError | None = None
        self.digest = b""
        self.trail: Trail | None = None

    def take_answer(self, answer: Record) -> None:
        """Take the first answer; nobody but a listener who streams reads its chunks."""
        self.trail = self.record.ticket.trail
        self.answer = answer
        reads = self.streams and self.listeners and not self.answered.done()
        abandon_live(value for name, value in answer.items() if not (reads and name == "completion"))
        if not self.answered.done():
            self.answered.set_result(answer)

    def abandon(self) -> None:
        """Say that nobody reads its answer: whoever makes it need not wait for a reader."""
        abandon_live((self.answer or {}).values())

    def take_outcome(self, outcome: Outcome | None, error: RecordError | None = None) -> None:
        """Take how it ended."""
        self.error = error
        if not self.answered.done():
            self.answered.set_result(None)
        if not self.settled.done():
            self.settled.set_result(outcome)
