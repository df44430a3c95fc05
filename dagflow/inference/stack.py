"""Stack: the guards of one worker, in the order in which they are asked.

What may refuse a call comes before what may make it wait, so that none waits in vain; the number of calls at a
time comes last, since it is the one that changes with every call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagflow.inference.breaker import Breaker
from dagflow.inference.concurrency import Adaptive, Concurrency
from dagflow.inference.limits import Limits
from dagflow.inference.pause import Pause
from dagflow.inference.spending import Budget, Prices

if TYPE_CHECKING:
    from dagflow.config.worker_tables import GuardKeys
    from dagflow.inference.gate import Guard
    from dagflow.inference.leasing import Windows
    from dagflow.plugin import ModelWorker


def build_guards(
    worker: str, table: GuardKeys, cls: type[ModelWorker], log: Any, windows: Windows
) -> tuple[Prices | None, list[Guard]]:
    """Build what a worker's table asks for: its prices, and its guards."""
    prices = Prices(table.prices) if table.prices is not None else None
    guards: list[Guard] = []
    if table.budget is not None:
        total = windows.build_sum(table.budget.reject, table.budget.per)
        guards.append(Budget(worker, table.budget, prices, log, total))
    if table.breaker is not None:
        guards.append(Breaker(worker, table.breaker))
    if cls.remote:
        guards.append(Pause())
    guards += [Limits(limit, windows, index) for index, limit in enumerate(table.limits)]
    most = cls.default_max_in_flight if table.max_in_flight is None else table.max_in_flight
    if table.adaptive is not None:
        guards.append(Adaptive(table.adaptive, most))
    elif most is not None:
        guards.append(Concurrency(most))
    return prices, guards
