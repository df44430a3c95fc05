"""Tracking: what has become of each record of all children, so that a dead one's are done once more, and once only.

What has ended in this run is not taken in again, however it ended; what earlier runs have done, the checkpoint knows.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from dagflow.engine.checkpointing import Checkpointing
from dagflow.engine.mark import Mark
from dagflow.graph.meaning import meaning_of
from dagflow.processes.endings import Endings
from dagflow.processes.messages import Again

if TYPE_CHECKING:
    from pathlib import Path

    from dagflow.graph.plan import Plan
    from dagflow.processes.hosting import Hosting
    from dagflow.processes.messages import Settled, Taken, Write

    Origin = tuple[str, bytes]


class Tracking:
    """The records of one run that may have to be done again.

    Attributes:
        checkpoint: that of the file, if it has one.
        knows_all: whether it knows all records of the run.
        deaths: how many processes died while they had a record; of those that have not settled.
    """

    def __init__(self, plan: Plan, fresh: bool) -> None:
        self._sources = [node.name for node in plan.of_kind("source") if node.resumable]
        self._endings: Endings | None = None
        self.knows_all = len(self._sources) == len(plan.of_kind("source"))
        self.checkpoint: Checkpointing | None = None
        self.deaths: dict[Origin, int] = {}
        self._begun: dict[Origin, list[tuple[str, str]]] = {}
        if plan.checkpoint is not None:
            self.checkpoint = Checkpointing(plan.checkpoint, meaning_of(plan), fresh)

    @property
    def path(self) -> str | None:
        """Where the checkpoint is."""
        return None if self.checkpoint is None else str(self.checkpoint.path)

    @property
    def endings(self) -> str | None:
        """The folder with what has ended in this run."""
        return None if self._endings is None else str(self._endings.folder)

    @property
    def resumes(self) -> bool:
        """Whether the run goes on with the work of an earlier one."""
        return self.checkpoint is not None and self.checkpoint.resumes

    async def open(self, hosting: Hosting, folder: Path) -> None:
        """Read what earlier runs have done, and tell the parent's sinks where to go on.

        Args:
            folder: that of the run.

        Raises:
            CheckpointMismatch, OpenFailed: as a checkpoint does.
        """
        if self._sources:
            self._endings = Endings(self._sources, folder)
        if self.checkpoint is not None:
            await self.checkpoint.open(self._sources)
            self.checkpoint.follow(hosting)

    async def begin(self) -> None:
        """Note where the sinks begin, which are open by now.

        Raises:
            OpenFailed: that could not be kept.
        """
        if self.checkpoint is not None:
            await self.checkpoint.begin()
            self._begun = {origin: list(written.elements()) for origin, written in self.checkpoint.begun.items()}

    def known(self) -> list[Again]:
        """Give what is to be known of records that somebody began, and nobody has now."""
        return [Again(*origin, self.deaths.get(origin, 0), written) for origin, written in self._begun.items()]

    def take(self, marks: dict[Origin, Mark], taken: Taken, mark: Mark | None) -> None:
        """Take note that a child has a record; `mark` is that of one that the parent took in."""
        origin = taken.source, taken.key
        written = self._begun.pop(origin, None)
        if mark is None:
            mark = Mark(taken.source, taken.key, taken.id, None if written is None else Counter(written))
        marks[origin] = mark

    def note_written(self, marks: dict[Origin, Mark], write: Write) -> None:
        """Take note that a sink has a record, or one that was made of it."""
        mark = marks.get(write.origin) if write.origin is not None else None
        if mark is None:
            return
        if self.checkpoint is not None and self._is_resumable(mark):
            self.checkpoint.note_written(mark, write.edge, write.rest)
        else:
            mark.written.append((write.edge, write.rest))

    def settle(self, marks: dict[Origin, Mark], settled: Settled, is_relayed: bool) -> None:
        """Take note of how a record ended; the source of a relayed one has told the checkpoint."""
        origin = settled.source, settled.key
        mark = marks.pop(origin, None)
        self.deaths.pop(origin, None)
        self._begun.pop(origin, None)
        if mark is None or not self._is_resumable(mark):
            return
        if self._endings is not None:
            self._endings.add(*origin)
        if self.checkpoint is not None and not is_relayed:
            self.checkpoint.note_ended(mark, settled.is_done)

    def _is_resumable(self, mark: Mark) -> bool:
        return mark.source in self._sources

    def bury(self, marks: dict[Origin, Mark]) -> None:
        """Take note of what a child had that died; what has ended is readable then."""
        for origin, mark in marks.items():
            self.deaths[origin] = self.deaths.get(origin, 0) + 1
            self._begun[origin] = mark.all_written
        if self._endings is not None:
            self._endings.flush()

    def as_dict(self, skipped: int) -> dict[str, Any]:
        """Give the row of the report, if the file has a checkpoint."""
        if self.checkpoint is None:
            return {}
        return {"checkpoint": self.checkpoint.as_dict() | {"skipped": skipped}}

    async def close(self) -> None:
        """Let go of everything; twice is fine."""
        if self.checkpoint is not None:
            await self.checkpoint.close()
        if self._endings is not None:
            self._endings.close()
