"""Submission: one record of a caller, from the door to its outcome, and who listens for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dagflow.live_values import abandon_live

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagflow.errors import RecordError
    from dagflow.record import Outcome, Record
    from dagflow.trail import Trail


class Submission:
    """A record that somebody handed in.

    Attributes:
        listeners: how many callers wait for it; what nobody waits for is cancelled.
        streams: whether the first of them reads the chunks of a live answer.
        is_given_up: whether somebody has asked for its end.
        is_answered: whether the first answer has come, or the end without one.
        is_settled: whether it has ended, or was never taken.
        answer, outcome, error: what the pipeline said of it, where it did; an end without an outcome is that of the
            pipeline.
        trail: what happened to it on its way; None before its answer.
        digest: of the request, where another one may come with the same idempotency key.
        on_settled: functions that are called when it has ended.
    """

    __slots__ = (
        "_waiting_for_answer",
        "_waiting_for_end",
        "answer",
        "arrived_s",
        "digest",
        "error",
        "is_answered",
        "is_given_up",
        "is_settled",
        "listeners",
        "on_settled",
        "outcome",
        "record",
        "streams",
        "trail",
    )

    def __init__(self, record: Record, arrived_s: float, streams: bool) -> None:
        self.record = record
        self.arrived_s = arrived_s
        self.streams = streams
        self.listeners = 0
        self.is_answered = self.is_settled = self.is_given_up = False
        self.answer: Record | None = None
        self.outcome: Outcome | None = None
        self.error: RecordError | None = None
        self.trail: Trail | None = None
        self.digest = b""
        self.on_settled: list[Callable[[], None]] = []
        self._waiting_for_answer: list[asyncio.Future[None]] = []
        self._waiting_for_end: list[asyncio.Future[None]] = []

    async def wait_answered(self) -> Record | None:
        """Wait for the first answer; None if it ends without one."""
        if not self.is_answered:
            await _join(self._waiting_for_answer)
        return self.answer

    async def wait_settled(self) -> Outcome | None:
        """Wait for its end; None if the pipeline never took it, or ended with it inside."""
        if not self.is_settled:
            await _join(self._waiting_for_end)
        return self.outcome

    def take_answer(self, answer: Record) -> None:
        """Take the first answer; nobody but a listener who streams reads its chunks."""
        self.trail = self.record.ticket.trail
        self.answer, self.is_answered = answer, True
        reads = self.streams and self.listeners
        abandon_live(value for name, value in answer.items() if not (reads and name == "completion"))
        _wake(self._waiting_for_answer)

    def abandon(self) -> None:
        """Say that nobody reads its answer: whoever makes it need not wait for a reader."""
        abandon_live((self.answer or {}).values())

    def let_go(self) -> None:
        """Keep nothing of the run that it was in, which may be gone long before it is forgotten."""
        for record in (self.record, self.answer):
            if record is not None:
                record.ticket = None
        for _, call in () if self.trail is None else self.trail.calls:
            call.request = None

    def take_outcome(self, outcome: Outcome | None, error: RecordError | None = None) -> None:
        """Take how it ended."""
        if error is not None:  # who is kept for a while keeps no frames with all that was at work in them
            error.__traceback__ = error.__cause__ = error.__context__ = None
        self.outcome, self.error = outcome, error
        self.is_answered = self.is_settled = True
        _wake(self._waiting_for_answer)
        _wake(self._waiting_for_end)
        for tell in self.on_settled:
            tell()


async def _join(waiting: list[asyncio.Future[None]]) -> None:
    waiter = asyncio.get_running_loop().create_future()
    waiting.append(waiter)
    await waiter


def _wake(waiting: list[asyncio.Future[None]]) -> None:
    for waiter in waiting:
        if not waiter.done():
            waiter.set_result(None)
    waiting.clear()
