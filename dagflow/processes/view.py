"""CrewView: what the admin listener shows of several processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyio import to_thread

from dagflow.admin.readiness import Reason
from dagflow.errors import SeveralProcesses
from dagflow.store.letters import purge_letters
from dagflow.store.shelf import open_shelf
from dagflow.store.writer import commit_alone

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence
    from pathlib import Path

    from dagflow.engine.resending import Entry, Read
    from dagflow.graph.plan import Plan
    from dagflow.processes.crew import Crew
    from dagflow.redaction import Redactor
    from dagflow.store.letter import Selection


class CrewView:
    """The view of a crew; what it tells is at most as old as the children were asked last."""

    taps = 0

    def __init__(self, crew: Crew) -> None:
        self.clock = crew.clock
        self.families = crew.families
        self.status = crew.report
        self._crew = crew

    @property
    def plan(self) -> Plan:
        return self._crew.plan

    @property
    def redactor(self) -> Redactor:
        return self._crew.redactor

    @property
    def state(self) -> str:
        if self._crew.stopped_by is not None:
            return "draining"
        return "running" if self._crew.started.is_set() else "starting"

    def reasons(self) -> list[Reason]:
        if self.state != "running":
            return [Reason("pipeline", self.state)]
        return [Reason(*reason) for reason in self._crew.reasons()]

    def latencies(self) -> dict[str, Counter[int]]:
        return self._crew.latencies()

    def replay(self, entries: Sequence[Entry], read: Read) -> None:
        raise SeveralProcesses("a replay", "stop it, and use `dagflow dlq replay`")

    def replayed(self) -> None:
        return None

    async def purge(self, selection: Selection) -> int:
        return await to_thread.run_sync(_purge, self.plan.dead_letters.path, selection)

    def tap(self, kind: str, name: str, rate: float) -> Any:
        raise SeveralProcesses("a tap", "`--set runtime.processes=1` runs it in one")

    async def close(self) -> None:
        """Nothing is open."""


def _purge(path: Path, selection: Selection) -> int:
    with open_shelf(path) as connection:
        return 0 if connection is None else commit_alone(connection, lambda store: purge_letters(store, selection))
