"""Gate: where calls wait until every guard lets them pass, the most urgent first.

The guards never wait and never wake anybody: each only says how long a call would have to wait, and
keeps its own books. All waiting is done here, in one line, so that no call holds a permit of one guard
while it waits for another's. A call that waits for a limit of its own key lets others pass.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, ClassVar

from dagflow.inference.call import CANCELLED
from dagflow.inference.line import Line

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from dagflow.inference.call import Call


class Guard:
    """One condition on calls, with books of its own. The base lets everything pass."""

    name: ClassVar[str]

    def wait_s(self, call: Call, now_s: float) -> float:
        """Say how long the call has to wait, in seconds, as far as is known; 0 for not at all, infinity for some end.

        Changes nothing: whether it is 0 may be asked again and again.

        Raises:
            WorkerError: it need not wait, since it may not be made.
        """
        return 0.0

    def key(self, call: Call) -> Hashable:
        """Whom the call would share its wait with; None for all."""
        return None

    def take(self, call: Call, now_s: float) -> None:
        """Note that the call is made; only after `wait_s` gave 0 at the same moment."""

    def settle(self, call: Call, now_s: float) -> None:
        """Note how a call has ended that was made; once for each."""

    def state(self, now_s: float) -> dict[str, Any]:
        """Tell what can be seen of it, as JSON-like values."""
        return {}


class Gate:
    """Lets calls pass, in the order of their priority and age, as soon as all guards do.

    Args:
        guards: asked in this order.
        clock: the pipeline's, in seconds.
        on_room: called when a call has ended or waits no longer, so that another one might pass.
    """

    def __init__(self, guards: Sequence[Guard], clock: Callable[[], float], on_room: Callable[[], None]) -> None:
        self.guards = tuple(guards)
        # Most guards have no use for some of the three: what they leave as it is need not be called.
        self._waits = _overriding(guards, "wait_s")
        self._takes = _overriding(guards, "take")
        self._settles = _overriding(guards, "settle")
        self._clock = clock
        self._on_room = on_room
        self._line = Line()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return len(self._line)

    def look(self, call: Call) -> float:
        """Say how long a call would have to wait if it came now, in seconds; infinity for some end.

        Raises:
            WorkerError: it would be refused.
        """
        now_s = self._clock()
        wait_s = max((guard.wait_s(call, now_s) for guard in self.guards), default=0.0)
        if wait_s or not self._line:
            return wait_s
        held: set[Hashable] = set()
        for waiter in self._line:
            _, key = self._wait_of(waiter.call, now_s, held)
            if key is None:
                return math.inf
            held.add(key)
        return self._wait_of(call, now_s, held)[0]

    def enter_nowait(self, call: Call) -> bool:
        """Let the call pass, unless it has to wait.

        Raises:
            WorkerError: it is refused.
        """
        now_s = self._clock()
        if self._line:
            for guard in self.guards:
                guard.wait_s(call, now_s)  # raises where it would wait in vain
            return False
        for wait_s in self._waits:
            if wait_s(call, now_s):
                return False
        self._pass(call, now_s)
        return True

    async def wait_entered(self, call: Call) -> None:
        """Wait until the call may pass; for one that `enter_nowait` did not let through.

        Raises:
            WorkerError: it is refused.
        """
        waiter = self._line.join(call, call.priority, self._clock())
        self._admit()
        try:
            await waiter.told
        except asyncio.CancelledError:
            if waiter.told.done() and not waiter.told.cancelled() and waiter.told.exception() is None:
                # It had been let in just before: the guards are to learn that nobody was asked.
                call.error, call.ended_s = CANCELLED, self._clock()
                self.leave(call)
            raise
        finally:
            if self._line.drop(waiter):
                self._go_on()

    def leave(self, call: Call) -> None:
        """Note the end of a call that was let pass, and let in who may pass now."""
        now_s = self._clock()
        for settle in self._settles:
            settle(call, now_s)
        self._go_on()

    def look_again(self) -> None:
        """Let in who may pass now: a guard has got what somebody waits for."""
        self._go_on()

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _pass(self, call: Call, now_s: float) -> None:
        for take in self._takes:
            take(call, now_s)
        call.started_s = now_s

    def _go_on(self) -> None:
        """Let in who may pass now; where nobody who waits is in the way of others, say that there is room."""
        if not self._line or self._admit():
            self._on_room()

    def _admit(self) -> bool:
        """Let in whom the guards let pass, the most urgent first; nobody overtakes who waits for the same.

        Gives whether others may pass those who still wait.
        """
        blocked = False
        now_s, soonest_s, held = self._clock(), math.inf, set()
        for waiter in tuple(self._line):
            try:
                wait_s, key = self._wait_of(waiter.call, now_s, held)
            except Exception as error:
                self._line.drop(waiter)
                waiter.tell(error)
                continue
            if not wait_s:
                self._line.drop(waiter)
                if waiter.tell(None):
                    self._pass(waiter.call, now_s)
                continue
            soonest_s = min(soonest_s, wait_s)
            if key is None:
                blocked = True
                break
            held.add(key)
        self._call_again(soonest_s)
        return not blocked

    def _wait_of(self, call: Call, now_s: float, held: set[Hashable]) -> tuple[float, Hashable]:
        """Say how long a call has to wait, and with whom; infinity where one before it waits for the same."""
        longest_s, shared_with = 0.0, None
        for index, guard in enumerate(self.guards):
            wait_s, key = guard.wait_s(call, now_s), guard.key(call)
            keyed = None if key is None else (index, key)
            if keyed is not None and keyed in held:
                wait_s = math.inf
            if wait_s and (not longest_s or keyed is None):
                shared_with = keyed  # who waits for what all share holds all up
            longest_s = max(longest_s, wait_s)
        return longest_s, shared_with

    def _call_again(self, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wait_s < math.inf:
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._go_on)


def _overriding(guards: Sequence[Guard], name: str) -> tuple[Callable[..., Any], ...]:
    return tuple(getattr(guard, name) for guard in guards if getattr(type(guard), name) is not getattr(Guard, name))
