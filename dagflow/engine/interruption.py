"""Interruption: stops what a task does for a record, from outside, without stopping the task.

It cancels the task and takes the cancellation back when that has come through, as `asyncio.timeout` does; each is a
tenth of the cost of a cancel scope, and every record of a service needs one in every node. What swallows a
cancellation is cancelled again, until it lets go.

`DueTimes` holds what is to be interrupted at a certain time. Most work is done long before, so nothing is armed for
it: now and then all of it is looked at, and only what is due before the next look gets a timer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_AGAIN_S: Final = 0.02  # between two cancellations of what does not let go
_LOOK_EVERY_S: Final = 0.5


class Interruption:
    """One stretch of work of the task that makes it; call it to interrupt the work."""

    __slots__ = ("_before", "_cancellations", "_task", "_timer")

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._before = task.cancelling()
        self._cancellations = 0
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self) -> None:
        """Interrupt the work; twice is fine."""
        if not self._cancellations:
            self._cancel()

    def arm(self, delay_s: float) -> None:
        """Interrupt the work after so many seconds."""
        self._timer = asyncio.get_running_loop().call_later(delay_s, self)

    def end(self) -> bool:
        """Take back what was asked of the task; call it when the work is over, whatever ended it. Twice is fine.

        Returns:
            Whether a cancellation that came out of the work came from here, and from nobody else.
        """
        if self._timer is not None:
            self._timer.cancel()
        if not self._cancellations:
            return False
        for _ in range(self._cancellations):
            self._task.uncancel()
        self._cancellations = 0
        return self._task.cancelling() <= self._before

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
        now_s = self._clock()
        if self._timer is None:
            self._look_later(now_s)
        self._due[interruption] = due_s
        if due_s < self._next_look_s:
            interruption.arm(due_s - now_s)

    def remove(self, interruption: Interruption) -> None:
        """Forget work that is over."""
        self._due.pop(interruption, None)

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
