"""CallerSource: the source that is the program itself, and what it is told.

A submission knows its record, never the other way round: what a stage or a result refers to
keeps no caller.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagflow.channel.doorbell import Doorbell
from dagflow.errors import PipelineClosed, RecordError
from dagflow.live_values import abandon_live
from dagflow.plugin import Source
from dagflow.record import Outcome, Record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(frozen=True, slots=True)
class Result:
    """How a submitted record ended.

    Attributes:
        outcome: one of the six.
        record: the answer that a `reply` sink gave, else the record as the first sink took it;
            None if no sink did.
        error: why it failed or expired, where it did.
    """

    outcome: Outcome
    record: Record | None
    error: RecordError | None


class Submission:
    """A record that somebody submitted, and what that somebody waits for.

    Attributes:
        answered: the first answer, or else the record as it was delivered; None for who only submits.
        settled: how it ended.
    """

    __slots__ = ("answered", "record", "settled")

    def __init__(self, record: Record, streams: bool) -> None:
        # A record of its own: the caller may submit one object twice, or one that came out of a pipeline.
        self.record = Record(record, record.id, record.session, record.priority, record.deadline, record.meta)
        self.record.port = record.port
        loop = asyncio.get_running_loop()
        self.answered: asyncio.Future[Record | None] | None = loop.create_future() if streams else None
        self.settled: asyncio.Future[Result] = loop.create_future()

    def refuse(self) -> None:
        """Tell whoever waits that the record was not taken."""
        if self.answered is not None:
            self.answered.cancel()
        if not self.settled.done():
            self.settled.set_exception(PipelineClosed())


class CallerSource(Source):
    """Hands in what the program submits; each caller waits, so nothing queues up unseen."""

    finite = False
    can_cancel = True

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[Submission] = deque()
        self._accepted: dict[Record, Submission] = {}
        self._bell = Doorbell()
        self._count = 0
        self._closed = False

    def submit(self, record: Record, streams: bool = False) -> Submission:
        """Line a record up for acceptance.

        Raises:
            PipelineClosed: nothing is accepted any more.
            ValueError: its priority or its deadline is no number.
        """
        if self._closed:
            raise PipelineClosed
        _check_numbers(record)
        submission = Submission(record, streams)
        self._count += 1
        submission.record.id = record.id or f"{self.context.name}:{self._count}"
        self._waiting.append(submission)
        self._bell.ring()
        return submission

    def withdraw(self, submission: Submission) -> None:
        """Take a record back: out of the line, or by cancelling it."""
        if submission in self._waiting:
            self._waiting.remove(submission)
        elif submission.record.ticket is not None:  # it has not settled yet
            submission.record.ticket.cancel()

    async def records(self) -> AsyncIterator[Record]:
        """Give the submitted records in the order of their submission, until the pipeline drains."""
        try:
            while True:
                while self._waiting:
                    submission = self._waiting.popleft()
                    self._accepted[submission.record] = submission
                    yield submission.record
                await self._bell.wait()
        finally:
            self._refuse_waiting()

    def on_answer(self, record: Record, answer: Record) -> None:
        """Pass the answer on to whoever streams it; who only submits wants the whole."""
        answered = self._accepted[record].answered
        if answered is None or answered.done():
            abandon_live(answer.values())
        else:
            answered.set_result(answer)

    def settle(self, record: Record, outcome: Outcome) -> None:
        """Tell the caller how its record ended."""
        submission, ticket = self._accepted.pop(record), record.ticket
        if submission.answered is not None and not submission.answered.done():
            submission.answered.set_result(ticket.delivered)
        if not submission.settled.done():
            answer = ticket.delivered if ticket.answer is None else ticket.answer
            submission.settled.set_result(Result(outcome, answer, ticket.error))

    async def close(self) -> None:
        """Let nobody wait for ever, also where the run broke and with it what was accepted."""
        self._refuse_waiting()
        for submission in self._accepted.values():
            submission.refuse()

    def _refuse_waiting(self) -> None:
        self._closed = True
        while self._waiting:
            self._waiting.popleft().refuse()


def _check_numbers(record: Record) -> None:
    if not isinstance(record.priority, int | float):
        raise ValueError(f"`priority` should be a number, but is `{record.priority!r}`")
    if not isinstance(record.deadline, int | float | None):
        expected = "a point on the clock `time.monotonic`, in seconds"
        raise ValueError(f"`deadline` should be {expected}, but is `{record.deadline!r}`")
