"""Prices and Budget: what calls cost, and what may be spent.

Prices are for a million tokens. A budget reserves what a call may cost at most when it is made, as far as that
can be told, so that many calls at a time do not overspend together, and settles it with what it did cost.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from dagflow.errors import WorkerError
from dagflow.inference.gate import Guard

if TYPE_CHECKING:
    from dagflow.config.worker_tables import BudgetTable, PricesTable
    from dagflow.exchange import Usage
    from dagflow.inference.call import Call

_MILLION: Final = 1_000_000
_GUESS: Final = 256  # tokens of an answer that nothing bounds
_NEARLY: Final = 1 - 1e-9  # sums of many small costs are a little off
_LEAST: Final = 1e-12


class Prices:
    """What tokens cost."""

    def __init__(self, table: PricesTable) -> None:
        self._input = table.input / _MILLION
        self._output = table.output / _MILLION
        self._cached = self._input if table.cached is None else table.cached / _MILLION

    def charge(self, usage: Usage) -> Usage:
        """Give the usage with its cost; one that has a cost keeps it."""
        if usage.cost is not None:
            return usage
        return replace(usage, cost=self.cost(usage.input_tokens, usage.output_tokens, usage.cached_tokens))

    def cost(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> float:
        """Give the cost of some tokens; the cached ones are among those of the input."""
        plain = input_tokens - cached_tokens
        return plain * self._input + cached_tokens * self._cached + output_tokens * self._output


class Sum:
    """What one program spends by itself; it begins anew after a time, if it has one."""

    def __init__(self, most: float | None, per_s: float | None) -> None:
        self.spent = 0.0
        self.period = 0
        self._most = math.inf if most is None else most * _NEARLY
        self._per_s = per_s
        self._held = 0.0
        self._began_s: float | None = None

    @property
    def is_spent(self) -> bool:
        """Whether nothing may be spent any more."""
        return self.spent >= self._most

    def has(self, cost: float, now_s: float) -> bool:
        """Whether something may be spent now; whether it is all, is known when it is spent."""
        self._begin_anew(now_s)
        return self.spent + self._held < self._most

    def hold(self, cost: float, now_s: float) -> None:
        """Reserve what is about to be spent."""
        self._held += cost

    def spend(self, held: float, cost: float, now_s: float) -> None:
        """Spend something, of which so much was held."""
        self._held -= held
        if self._held < _LEAST:
            self._held = 0.0  # whatever rounding has left
        self._begin_anew(now_s)
        self.spent += cost

    def _begin_anew(self, now_s: float) -> None:
        if self._began_s is None:
            self._began_s = now_s
        elif self._per_s is not None and now_s - self._began_s >= self._per_s:
            periods = (now_s - self._began_s) // self._per_s
            self._began_s += periods * self._per_s
            self.period += int(periods)
            self.spent = 0.0


class Budget(Guard):
    """Says when a sum is nearly spent, and refuses calls once it is.

    Args:
        total: what is spent, by this program or by all that share it.
    """

    name = "budget"

    def __init__(self, worker: str, table: BudgetTable, prices: Prices | None, log: Any, total: Any) -> None:
        self._worker = worker
        self._table = table
        self._prices = prices
        self._log = log
        self._total = total
        self._reserved: dict[Call, float] = {}
        self._mean = 0.0  # of what the answers so far have cost
        self._answers = 0
        self._warned_in: int | None = None

    def wait_s(self, call: Call, now_s: float) -> float:
        most, total = self._table.reject, self._total
        if most is None or total.has(self._estimate(call), now_s):
            return 0.0
        if total.is_spent:
            text = f"the budget of worker `{self._worker}` is spent: {total.spent:.6g} of {most:g}"
            raise WorkerError("refused", text, status=429)
        return math.inf  # whether the rest will be spent is known when a call under way has ended

    def take(self, call: Call, now_s: float) -> None:
        if self._table.reject is not None:
            self._reserved[call] = cost = self._estimate(call)
            self._total.hold(cost, now_s)

    def settle(self, call: Call, now_s: float) -> None:
        cost = 0.0 if call.usage is None else call.usage.cost or 0.0
        total = self._total
        total.spend(self._reserved.pop(call, 0.0), cost, now_s)
        if not cost:
            return
        self._answers += 1
        self._mean += (cost - self._mean) / self._answers
        if self._table.warn is not None and self._warned_in != total.period and total.spent >= self._table.warn:
            self._warned_in = total.period
            self._log.warning("budget is nearly spent", spent=total.spent, warn=self._table.warn)

    def state(self, now_s: float) -> dict[str, Any]:
        self._total.has(0.0, now_s)
        return {"spent": self._total.spent, "warn": self._table.warn, "reject": self._table.reject}

    def _estimate(self, call: Call) -> float:
        """Say what a call may cost; where others have the prices, as the members of a pool, what one cost so far."""
        if self._prices is None:
            return self._mean
        of_input, of_output = call.estimate
        return self._prices.cost(of_input, _GUESS if of_output is None else of_output)
