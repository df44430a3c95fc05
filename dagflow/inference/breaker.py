"""Breaker: stops asking a worker that fails, and tries it again with one call at a time.

Timeouts count; what is the request's own fault does not, nor does a 429, which is for the limiter.
closed -> open, when `failures` of the last `calls` failed; open -> half-open after the cool-down, for exactly
one call; back to closed if that is answered, else open again for twice as long.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from dagflow.errors import WorkerError
from dagflow.inference.gate import Guard

if TYPE_CHECKING:
    from dagflow.config.worker_tables import BreakerTable
    from dagflow.inference.call import Call

_COUNTS: Final = frozenset({"timeout", "unavailable", "protocol", "bug"})
_SAYS_NOTHING: Final = frozenset({"cancelled", "overloaded"})


class Breaker(Guard):
    """The breaker of one worker."""

    name = "breaker"

    def __init__(self, worker: str, table: BreakerTable) -> None:
        self._worker = worker
        self._table = table
        self._last: deque[bool] = deque(maxlen=table.calls)
        self._cooldown_s = table.cooldown
        self._open_until_s: float | None = None
        self._probe: Call | None = None
        self.opened = 0

    def wait_s(self, call: Call, now_s: float) -> float:
        if self._open_until_s is None or (now_s >= self._open_until_s and self._probe is None):
            return 0.0
        left_s = max(self._open_until_s - now_s, 0.0) or self._table.cooldown
        text = f"worker `{self._worker}` has failed too often; its breaker lets nothing pass for {left_s:.3g} s"
        raise WorkerError("unavailable", text, retry_after=left_s)

    def take(self, call: Call, now_s: float) -> None:
        if self._open_until_s is not None:
            self._probe = call

    def settle(self, call: Call, now_s: float) -> None:
        if self._open_until_s is not None:
            self._settle_open(call, now_s)
        elif call.error not in _SAYS_NOTHING:
            self._last.append(call.error in _COUNTS)
            if sum(self._last) >= self._table.failures:
                self._open(now_s)

    def state(self, now_s: float) -> dict[str, Any]:
        return {"state": self._state(now_s), "opened": self.opened, "failures": sum(self._last)}

    def _state(self, now_s: float) -> str:
        if self._open_until_s is None:
            return "closed"
        return "half-open" if now_s >= self._open_until_s else "open"

    def _settle_open(self, call: Call, now_s: float) -> None:
        if call is not self._probe:
            return  # it began before the breaker opened
        self._probe = None
        if call.error in _COUNTS:
            self._cooldown_s = min(self._cooldown_s * 2, self._table.max_cooldown)
            self._open(now_s)
        elif call.error not in _SAYS_NOTHING:
            self._cooldown_s = self._table.cooldown
            self._open_until_s = None

    def _open(self, now_s: float) -> None:
        self._open_until_s = now_s + self._cooldown_s
        self._last.clear()
        self.opened += 1
