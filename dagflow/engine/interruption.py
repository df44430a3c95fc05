"""Interruption: stops what a task does for a record, from outside, without stopping the task.

It cancels the task and takes the cancellation back when that has come through, as `asyncio.timeout` does; that is a
tenth of the cost of a cancel scope, and every record of a service needs one in every node. What swallows a
cancellation is cancelled again, until it lets go.

`DueTimes` holds what is to be interrupted at a certain time. Most work is done long before, so nothing is armed for
it: now and then all of it is looked at, and only what is due before the next look gets a timer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_AGAIN_S: Final = 0.02  # between two cancellations of what does not let go
_LOOK_EVERY_S: Final = 0.5


class Interruption:
    """A stretch of work: `with Interruption(...)`. Call it to interrupt the work, which then ends with `reason()`.

    Args:
        task: the one that works.
        due_times: where the work is to be interrupted at `due_s`, a point on the clock; None for never.
        running: where others find it.
    """

    __slots__ = ("_before", "_cancellations", "_due_s", "_due_times", "_reason", "_running", "_task", "_timer")

    def __init__(
        self,
        task: asyncio.Task[Any],
        reason: Callable[[], BaseException],
        due_times: DueTimes,
        due_s: float | None,
        running: set[Callable[[], object]] | None = None,
    ) -> None:
        self._task = task
        self._reason = reason
        self._due_times, self._due_s = due_times, due_s
        self._running = running
        self._before = 0
        self._cancellations = 0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._before = self._task.cancelling()
        if self._running is not None:
            self._running.add(self)
        if self._due_s is not None:
            self._due_times.add(self, self._due_s)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: Any) -> None:
        if self._running is not None:
            self._running.discard(self)
        if self._due_s is not None:
            self._due_times.remove(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._cancellations:
            for _ in range(self._cancellations):
                self._task.uncancel()
            # Else somebody else has cancelled the task as well, and that goes on.
            if kind is asyncio.CancelledError and self._task.cancelling() <= self._before:
                raise self._reason() from None

    def __call__(self) -> None:
        """Interrupt the work; twice is fine."""
        if self._cancellations:
            return
        if asyncio.current_task() is self._task:
            self.arm(0.0)  # else the work could end before the cancellation, which would hit what the task does next
        else:
            self._cancel()

    def arm(self, delay_s: float) -> None:
        """Interrupt the work after so many seconds, unless that is under way."""
        if self._cancellations:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, self)

    def _cancel(self) -> None:
        self._cancellations += 1
        self._task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_AGAIN_S, self._cancel)


class DueTimes:
    """The times at which work is to be interrupted; points on the clock, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due: dict[Interruption, float] = {}
        self._next_look_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, interruption: Interruption, due_s: float) -> None:
        """Interrupt work when a time has come, unless it is removed before."""
        self._due[interruption] = due_s
        if self._timer is None:
            self._look_later(self._clock())
        if due_s < self._next_look_s:
            interruption.arm(due_s - self._clock())

    def remove(self, interruption: Interruption) -> None:
        """Forget work that is over."""
        del self._due[interruption]

    def _look_later(self, now_s: float) -> None:
        self._next_look_s = now_s + _LOOK_EVERY_S
        self._timer = asyncio.get_running_loop().call_later(_LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        """Arm what is due before the next look; where there is nothing left, look no more."""
        self._timer = None
        if not self._due:
            return
        now_s, last_look_s = self._clock(), self._next_look_s
        self._look_later(now_s)
        for interruption, due_s in self._due.items():
            if last_look_s <= due_s < self._next_look_s:
                interruption.arm(max(due_s - now_s, 0.0))
