"""View: what the admin listener needs of a run, whether that is one engine or several processes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from dagflow.admin.readiness import Readiness
from dagflow.engine.standing import read_latencies, read_status
from dagflow.engine.taps import Taps

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from dagflow.admin.readiness import Reason
    from dagflow.engine.engine import Engine
    from dagflow.engine.resending import Entry, Read
    from dagflow.engine.succession import Succession
    from dagflow.engine.taps import Tap
    from dagflow.graph.plan import Plan
    from dagflow.redaction import Redactor
    from dagflow.store.letter import Selection
    from dagflow.telemetry.families import Family


class View(Protocol):
    """A run that can be looked into."""

    plan: Plan
    redactor: Redactor
    clock: Callable[[], float]

    @property
    def state(self) -> str:
        """What the pipeline does: `starting`, `running` or `draining`."""

    def reasons(self) -> list[Reason]:
        """Say why it is not ready; nothing if it is."""

    def status(self) -> dict[str, Any]:
        """Give the report as of now, with what only a running pipeline has to say."""

    def latencies(self) -> dict[str, Counter[int]]:
        """Give the histograms behind the quantiles of the report, by their places: `nodes/ask`, `workers/main`."""

    def families(self) -> list[Family]:
        """Read the metrics as of now."""

    def replay(self, entries: Sequence[Entry], read: Read) -> None:
        """Send dead letters in.

        Raises:
            DagflowError: that is not possible now.
        """

    def replayed(self) -> dict[str, Any] | None:
        """Say how the last replay goes; None if there was none."""

    async def purge(self, selection: Selection) -> int:
        """Remove dead letters; gives how many."""

    def tap(self, kind: str, name: str, rate: float) -> AbstractContextManager[Tap]:
        """Open a tap of an `edge` or a `worker`.

        Raises:
            DagflowError: that is not possible here.
        """

    @property
    def taps(self) -> int:
        """How many taps are open."""

    async def close(self) -> None:
        """Let go of everything."""


class EngineView:
    """The view of one engine."""

    def __init__(self, engine: Engine) -> None:
        self.plan = engine.plan
        self.redactor = engine.redactor
        self.clock = engine.clock
        self.families = engine.families
        self._engine = engine
        self._readiness = Readiness(engine)
        self._taps = Taps(engine.wiring)

    @property
    def state(self) -> str:
        return self._readiness.state

    def reasons(self) -> list[Reason]:
        return self._readiness.reasons()

    def status(self) -> dict[str, Any]:
        return read_status(self._engine)

    def latencies(self) -> dict[str, Counter[int]]:
        return read_latencies(self._engine.wiring)

    def replay(self, entries: Sequence[Entry], read: Read) -> None:
        self._engine.replay(entries, read)

    def replayed(self) -> dict[str, Any] | None:
        reentry = self._engine.wiring.reentry
        replay = None if reentry is None else reentry.plugin.replay
        return None if replay is None else replay.as_dict()

    async def purge(self, selection: Selection) -> int:
        return await self._engine.wiring.letters.purge(selection)

    def tap(self, kind: str, name: str, rate: float) -> AbstractContextManager[Tap]:
        return self._taps.worker(name, rate) if kind == "worker" else self._taps.edge(name, rate)

    @property
    def taps(self) -> int:
        return self._taps.count

    async def close(self) -> None:
        self._taps.end()
        await self._readiness.close()


class SuccessionView:
    """The view of a run whose plan may be replaced: of the engine that takes records in, and of the books of all."""

    def __init__(self, succession: Succession) -> None:
        self.clock = succession.clock
        self.families = succession.families
        self.status = succession.status
        self.latencies = succession.latencies
        self._succession = succession
        self._view = EngineView(succession.engine)
        self._closing: set[asyncio.Task[None]] = set()
        succession.on_replaced.append(self._look_at_next)

    @property
    def plan(self) -> Plan:
        return self._view.plan

    @property
    def redactor(self) -> Redactor:
        return self._view.redactor

    @property
    def state(self) -> str:
        return self._view.state

    def reasons(self) -> list[Reason]:
        return self._view.reasons()

    def replay(self, entries: Sequence[Entry], read: Read) -> None:
        self._view.replay(entries, read)

    def replayed(self) -> dict[str, Any] | None:
        return self._view.replayed()

    async def purge(self, selection: Selection) -> int:
        return await self._view.purge(selection)

    def tap(self, kind: str, name: str, rate: float) -> AbstractContextManager[Tap]:
        return self._view.tap(kind, name, rate)

    @property
    def taps(self) -> int:
        return self._view.taps

    async def close(self) -> None:
        await self._view.close()
        if self._closing:
            await asyncio.wait(self._closing)

    def _look_at_next(self) -> None:
        closing = asyncio.ensure_future(self._view.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self._view = EngineView(self._succession.engine)
