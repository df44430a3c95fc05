"""Guard: one record's call of a plugin, under its timeout, its deadline, cancellation and retry.

From the outside in: the record's deadline and cancellation bound everything, waiting between
attempts included; `retry` makes attempts; `timeout` bounds each. An interruption is built only for
what is set, and only once the work waits for something.
"""

from __future__ import annotations

import random
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

import anyio

from dagflow.engine.faults import as_record_error
from dagflow.engine.first_step import resume
from dagflow.engine.interruption import DueTimes, Interruption
from dagflow.engine.retry_budget import RetryBudget
from dagflow.errors import DeadlinePassed, FlowSignal, RecordError, StageTimeout
from dagflow.inference.pause import LONGEST_PAUSE_S

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from dagflow.graph.plan import NodePlan, RetryPlan
    from dagflow.record import Record

    Call = Callable[[Record], Awaitable[Any]]


_MOST_DOUBLINGS: Final = 64  # more than any `max_backoff` needs; a float holds a thousand


class TicketCancelled(FlowSignal):
    """Whoever submitted the record asked for its cancellation."""


class Guard:
    """Makes the attempts for the records of one node."""

    __slots__ = (
        "_clock",
        "_due_times",
        "_is_plain",
        "_keeps_original",
        "_name",
        "_on_retry",
        "_retry",
        "_timeout_s",
        "_uses_original",
        "retry_budget",
    )

    def __init__(
        self, node: NodePlan, clock: Callable[[], float], on_retry: Callable[[], None], keeps_letters: bool = False
    ) -> None:
        self._name = node.name
        self._retry = node.retry
        self._timeout_s = node.timeout_s
        # What fails is retried, sent to the error port, or kept, as it entered; so the plugin gets a copy.
        self._uses_original = node.retry.attempts > 1 or node.on_error == "port"
        self._keeps_original = self._uses_original or keeps_letters
        # Then there is nothing around one call on the record itself.
        self._is_plain = not (self._keeps_original or node.timeout_s is not None)
        self._clock = clock
        self._due_times = DueTimes(clock)
        self._on_retry = on_retry
        share = node.retry.budget
        self.retry_budget = RetryBudget(share, clock) if share is not None and node.retry.attempts > 1 else None

    @property
    def is_needed(self) -> bool:
        """Whether even a record without a deadline that nobody can cancel needs it."""
        return self._timeout_s is not None or self._uses_original

    async def run(self, record: Record, call: Call, task: asyncio.Task[Any]) -> Any:
        """Call the plugin until it answers or may not be tried again; `task` is the one that does.

        Raises:
            RecordError: the last attempt's error, with node and attempt.
            DeadlinePassed: the record's deadline came first.
            TicketCancelled: somebody cancelled it.
        """
        if record.deadline is None and record.ticket.running is None:
            return await self._attempts(record, call, task)
        if record.ticket.cancelled:
            raise TicketCancelled
        try:
            work = call(record) if self._is_plain else self._attempts(record, call, task)
            if type(work) is CoroutineType:
                work = resume(work, work.send(None))
        except StopIteration as end:
            return end.value
        except Exception as caught:
            raise as_record_error(caught, self._name)  # noqa: B904 (it has its cause)
        with self._life(record, task):
            try:
                return await work
            except Exception as caught:
                raise as_record_error(caught, self._name)  # noqa: B904 (it has its cause)

    async def within_life(self, record: Record, work: Callable[[], Awaitable[Any]], task: asyncio.Task[Any]) -> Any:
        """Do something for a record until its deadline, or until its ticket is cancelled."""
        if record.deadline is None and record.ticket.running is None:
            return await work()
        with self._life(record, task):
            return await work()

    async def timed(self, work: Awaitable[Any], task: asyncio.Task[Any], spent_s: float = 0.0) -> Any:
        """Await something within what is left of the stage's timeout after `spent_s`.

        Raises:
            StageTimeout: it took longer.
        """
        timeout_s = self._timeout_s
        if timeout_s is None:
            return await work
        due_s = self._clock() + timeout_s - spent_s
        with Interruption(task, lambda: StageTimeout(timeout_s), self._due_times, due_s):
            return await work

    def _life(self, record: Record, task: asyncio.Task[Any]) -> Interruption:
        ticket = record.ticket
        if ticket.cancelled:
            raise TicketCancelled

        def reason() -> Exception:
            return TicketCancelled() if ticket.cancelled else DeadlinePassed()

        return Interruption(task, reason, self._due_times, record.deadline, ticket.running)

    async def _attempts(self, record: Record, call: Call, task: asyncio.Task[Any]) -> Any:
        attempt = 1
        if self.retry_budget is not None:
            self.retry_budget.earn()
        while True:
            # No name may hold the error that is raised: this frame is in its traceback, and each would
            # keep the other, with the record, until the next garbage collection.
            try:
                return await self._attempt(record, call, task)
            except Exception as caught:
                if attempt >= self._retry.attempts or not is_retryable(caught) or not self._may_retry():
                    raise as_record_error(caught, self._name, attempt)  # noqa: B904 (it has its cause)
                pause_s = backoff_s(self._retry, attempt, caught)
            self._on_retry()
            await anyio.sleep(pause_s)
            attempt += 1

    def _may_retry(self) -> bool:
        return self.retry_budget is None or self.retry_budget.spend()

    async def _attempt(self, record: Record, call: Call, task: asyncio.Task[Any]) -> Any:
        return await self.timed(call(record.copy() if self._keeps_original else record), task)


def is_retryable(error: Exception) -> bool:
    """Whether another attempt may cure it."""
    return isinstance(error, RecordError) and error.retryable


def backoff_s(retry: RetryPlan, attempt: int, error: RecordError) -> float:
    """The wait before the next attempt, in seconds: full jitter, but never less than was asked for.

    Full jitter draws evenly from zero to the exponential bound ("Exponential Backoff And
    Jitter", AWS Architecture Blog, 2015).
    """
    bound = min(retry.max_backoff_s, retry.backoff_s * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS))
    drawn = random.uniform(0, bound)
    return max(drawn, min(error.retry_after or 0.0, LONGEST_PAUSE_S))
