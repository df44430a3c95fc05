"""Readiness: whether a pipeline can take work now, and if not, why.

It is not ready while it starts or drains, while a worker is down that records need, and while limits cannot be leased
that it shares. A worker is down while its breaker lets nothing pass, or when its last calls got nothing out of it; a
pool is down when all of its members are. One that is down by its calls is asked now and then, so that it comes up again
where no traffic comes any more.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from dagflow.errors import describe
from dagflow.tasks import end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dagflow.engine.engine import Engine
    from dagflow.graph.plan import Plan
    from dagflow.inference.guarded import GuardedWorker

SILENT_CALLS: Final = 3
"""So many calls in a row without an answer make a worker down."""
PROBE_EVERY_S: Final = 5.0
PROBE_TIMEOUT_S: Final = 5.0


class Reason(NamedTuple):
    """What is not ready, and why."""

    what: str
    reason: str


class Readiness:
    """Judges an engine. It asks a worker only when somebody asks it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        workers = engine.wiring.workers
        self._vigils = {name: Vigil(worker, engine.clock) for name, worker in workers.items()}
        self._required = required_workers(engine.plan)

    @property
    def state(self) -> str:
        """What the pipeline does: `starting`, `running` or `draining`."""
        if self._engine.stopped_by is not None:
            return "draining"
        return "running" if self._engine.started.is_set() else "starting"

    def reasons(self) -> list[Reason]:
        """Say why it is not ready; nothing if it is. Starts to ask workers that are down."""
        if self.state != "running":
            return [Reason("pipeline", self.state)]
        found = ((name, self._down(self._engine.wiring.workers[name])) for name in self._required)
        reasons = [Reason(f"worker `{name}`", reason) for name, reason in found if reason is not None]
        leasing = self._engine.wiring.leasing
        if leasing is not None and leasing.trouble is not None:
            reasons.append(Reason("[shared]", leasing.trouble))
        redact = self._engine.redactor.redact
        return [Reason(reason.what, redact(reason.reason)) for reason in reasons]

    async def close(self) -> None:
        """Ask no more."""
        for vigil in self._vigils.values():
            await vigil.close()

    def _down(self, worker: GuardedWorker) -> str | None:
        own = self._vigils[worker.name].breaker_reason()
        if own is not None:
            return own
        if not worker.members:
            return self._vigils[worker.name].reason()
        members = {name: self._down(member) for name, member in worker.members.items()}
        down = [f"`{name}`: {reason}" for name, reason in members.items() if reason is not None]
        return f"all members are down: {'; '.join(down)}" if len(down) == len(members) else None


class Vigil:
    """Keeps an eye on one worker."""

    def __init__(self, worker: GuardedWorker, clock: Callable[[], float]) -> None:
        self._worker = worker
        self._clock = clock
        self._forgiven = 0  # so many silent calls lie before the last answer to a probe
        self._asked_s: float | None = None
        self._asking: asyncio.Task[None] | None = None
        self._found = ""

    def breaker_reason(self) -> str | None:
        """Say that its breaker lets nothing pass, if that is so."""
        state = self._worker.as_dict().get("breaker")
        return "its breaker is open" if state is not None and state["state"] == "open" else None

    def reason(self) -> str | None:
        """Say why it is down, if it is; then ask it, unless that was done a moment ago."""
        silent = self._worker.tally.silent
        if silent < self._forgiven:
            self._forgiven = 0  # a call was answered since
        silent -= self._forgiven
        if silent < SILENT_CALLS:
            return None
        self._ask()
        return f"its last {silent} calls had no answer{self._found and f', and neither had a probe: {self._found}'}"

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            await end(self._asking)

    def _ask(self) -> None:
        now_s = self._clock()
        due = self._asked_s is None or now_s - self._asked_s >= PROBE_EVERY_S
        if due and (self._asking is None or self._asking.done()):
            self._asked_s = now_s
            self._asking = asyncio.ensure_future(self._probe())

    async def _probe(self) -> None:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await self._worker.probe()
        except Exception as error:  # whatever it is, it is no answer
            self._found = describe(error)
        else:
            self._found = ""
            self._forgiven = self._worker.tally.silent


def required_workers(plan: Plan) -> list[str]:
    """Give the workers that records need: not those that only best-effort branches ask."""
    reached = {node.name for node in plan.of_kind("source")}
    for name, edges in plan.edges_from.items():  # in an order in which each edge leads forward
        if name in reached:
            reached |= {edge.target for edge in edges if not edge.best_effort}
    return list(dict.fromkeys(_workers_of(plan, reached)))


def _workers_of(plan: Plan, nodes: set[str]) -> Iterator[str]:
    for name in plan.nodes:
        if name in nodes:
            yield from plan.nodes[name].workers
