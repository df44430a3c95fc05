"""Door: takes records in or refuses them at once, and gives each caller what became of its own.

There is no queue here but the line of at most `max_waiting` beyond what the pipeline would take now. What is
refused at the door was never accepted, and is no record.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from dagflow.channel.doorbell import Doorbell
from dagflow.record import Outcome
from dagflow.sources.http.pace import Pace
from dagflow.sources.http.refusals import Refusal, busy, draining, refusal_of
from dagflow.sources.http.submission import Submission

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Container

    from dagflow.plugin import Context
    from dagflow.record import Record


class Door:
    """The line of those who wait for acceptance, and all who are inside.

    Attributes:
        closed: whether nobody is let in any more.
        inside: what was accepted and has not settled, by its record.
    """

    def __init__(self, context: Context, max_waiting: int, keeps_on: bool) -> None:
        """Open the door; `keeps_on`: whether a record goes on after its caller has left."""
        self.inside: dict[Record, Submission] = {}
        self.closed = False
        self._is_replaced = False
        self._clock = context.clock
        self._room = context.room
        self._max_waiting = max_waiting
        self._keeps_on = keeps_on
        self._line: deque[Submission] = deque()
        self._bell = Doorbell()
        self._pace = Pace(context.clock())
        self._refused = context.metrics.counter("refused")

    @property
    def waiting(self) -> int:
        """How many wait for acceptance."""
        return len(self._line)

    @property
    def retry_after_s(self) -> float:
        """How long what is inside will take at the present pace, in seconds."""
        return self._pace.wait_s(len(self.inside) + len(self._line), self._clock())

    def submit(self, record: Record, streams: bool = False) -> Submission:
        """Let a record in, for one listener.

        Raises:
            Refusal: there is no room, or the service is about to end.
        """
        if self.closed:
            raise draining(self.retry_after_s)
        if self._room(record) - len(self._line) + self._max_waiting <= 0:
            self._refused.add()
            raise busy(self.retry_after_s)
        submission = Submission(record, self._clock(), streams)
        submission.listeners = 1
        self._line.append(submission)
        self._bell.ring()
        return submission

    def replace(self, before: Door, ports: Container[str | None]) -> None:
        """Take over the line of another door, through which nobody comes any more.

        Args:
            ports: those that records may leave by now; who asked for another one is refused.
        """
        for submission in before._line:
            if submission.record.port in ports:
                self._line.append(submission)
            else:
                submission.take_outcome(None)
        before._line, before._is_replaced = self._line, True  # who gives up there is found in the line
        self._pace = before._pace

    def leave(self, submission: Submission) -> None:
        """Take note that one listener waits no longer; what the last one leaves is cancelled, unless it is to go on."""
        submission.listeners -= 1
        if not submission.listeners:
            submission.abandon()
            if not self._keeps_on:
                self.cancel(submission)

    def cancel(self, submission: Submission) -> None:
        """Take a record out of the line, or have it cancelled wherever it is; one that has settled stays as it is."""
        if submission.is_settled:
            return
        submission.is_given_up = True
        if submission.record.ticket is not None:
            submission.record.ticket.cancel()
        elif submission in self._line:
            self._line.remove(submission)
            submission.take_outcome(Outcome.CANCELLED)

    async def records(self) -> AsyncIterator[Record]:
        """Give the records in the order of their arrival, until the pipeline drains; then nobody is let in."""
        try:
            while True:
                while self._line:
                    submission = self._line.popleft()
                    self.inside[submission.record] = submission
                    yield submission.record
                await self._bell.wait()
        finally:
            self.close()

    def take_answer(self, record: Record, answer: Record) -> None:
        """Pass the answer on."""
        self.inside[record].take_answer(answer)

    def settle(self, record: Record, outcome: Outcome) -> None:
        """Pass the outcome on."""
        submission = self.inside.pop(record)
        if outcome in (Outcome.DELIVERED, Outcome.FILTERED, Outcome.FAILED):
            self._pace.note(self._clock())
        submission.take_outcome(outcome, record.ticket.error)

    def refusal_of(self, submission: Submission) -> Refusal:
        """Say why a submission that has ended got no answer."""
        if submission.outcome is Outcome.CANCELLED and submission.is_given_up:
            return Refusal(409, "cancelled", "the request was cancelled", should_retry=False)
        if submission.outcome is None:
            return draining(self.retry_after_s)
        return refusal_of(submission.outcome, submission.error, self.retry_after_s)

    def close(self) -> None:
        """Let nobody in any more, and refuse those in the line, unless they stand in that of another door."""
        if self._is_replaced:
            return
        self.closed = True
        while self._line:
            self._line.popleft().take_outcome(None)

    def abandon(self) -> None:
        """Let nobody wait for ever, also where the run broke and with it what was accepted."""
        self.close()
        for submission in self.inside.values():
            submission.take_outcome(None)
