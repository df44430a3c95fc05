"""Concurrency: how many calls a worker gets at a time, fixed or found out.

The adaptive limit grows by one for each round of good answers while all of it is used, and shrinks by a
factor when the server says that it is too much, or takes much longer than it used to. It shrinks once for
all calls that were under way together, remembers where that was, and approaches that mark slowly
(additive increase, multiplicative decrease: Chiu and Jain, 1989).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from dagflow.inference.gate import Guard

if TYPE_CHECKING:
    from dagflow.config.worker_tables import AdaptiveTable
    from dagflow.inference.call import Call

_NEAR_CEILING: Final = 0.1  # how fast it grows from just below the mark at which it was too much
_CEILING_S: Final = 60.0  # how long that mark is remembered, in seconds: servers change
_SHORT: Final = 0.2  # weight of the newest latency in the short average
_LONG: Final = 0.01  # the same in the long one
_KNOWN: Final = 20  # so many answers make an average


class Concurrency(Guard):
    """At most `limit` calls at a time."""

    name = "concurrency"

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.busy = 0

    def wait_s(self, call: Call, now_s: float) -> float:
        return 0.0 if self.busy < int(self.limit) else math.inf

    def take(self, call: Call, now_s: float) -> None:
        self.busy += 1

    def settle(self, call: Call, now_s: float) -> None:
        self.busy -= 1

    def state(self, now_s: float) -> dict[str, Any]:
        return {"limit": int(self.limit), "busy": self.busy}


class Adaptive(Concurrency):
    """A limit that follows what the server can take."""

    def __init__(self, table: AdaptiveTable, most: int | None) -> None:
        self._most = min(table.max, most or table.max)
        super().__init__(float(self._most))
        self._table = table
        self._ceiling: tuple[float, float] | None = None  # the mark, and when it was set
        self._full_s = self._decreased_s = -math.inf  # when all of it was used last, and when it shrank last
        self._short_s = self._long_s = 0.0
        self._answers = 0
        self.decreases = 0

    def take(self, call: Call, now_s: float) -> None:
        super().take(call, now_s)
        if self.busy >= int(self.limit):
            self._full_s = now_s

    def settle(self, call: Call, now_s: float) -> None:
        super().settle(call, now_s)
        if call.error in ("overloaded", "timeout") or (call.error is None and self._is_slow(call)):
            self._decrease(call, now_s)
        elif call.error is None and self._full_s >= call.started_s:
            self._increase(now_s)

    def state(self, now_s: float) -> dict[str, Any]:
        return {**super().state(now_s), "decreases": self.decreases}

    def _increase(self, now_s: float) -> None:
        step = 1.0 / self.limit
        if self._ceiling is not None:
            mark, since_s = self._ceiling
            if now_s - since_s > _CEILING_S:
                self._ceiling = None
            elif self.limit + 1 > mark:
                step *= _NEAR_CEILING
        self.limit = min(self.limit + step, float(self._most))

    def _decrease(self, call: Call, now_s: float) -> None:
        if call.started_s is None or call.started_s < self._decreased_s:
            return  # it was under way when the limit shrank last
        self._ceiling = (self.limit, now_s)
        self.limit = max(self.limit * self._table.decrease, float(min(self._table.min, self._most)))
        self._decreased_s = now_s
        self.decreases += 1

    def _is_slow(self, call: Call) -> bool:
        """Note a latency, that of the first chunk where there are chunks; give whether the last ones were long."""
        latency_s = (call.first_s or call.ended_s) - call.started_s
        if not self._answers:
            self._short_s = self._long_s = latency_s
        self._answers += 1
        self._short_s += _SHORT * (latency_s - self._short_s)
        # The long average is a plain mean at first, until there is enough of it.
        self._long_s += max(_LONG, 1 / self._answers) * (latency_s - self._long_s)
        slow = self._answers >= _KNOWN and self._short_s > self._table.latency * self._long_s
        if slow:
            self._short_s = self._long_s  # one decrease for one slow spell
        return slow
