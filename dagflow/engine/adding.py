"""Adding: what a replay, or a pipeline that is embedded, does with the checkpoint of its file, whose sinks it adds to.

They go on where the last run left them, and what is added is never cut off again: nobody would bring it once more. So
no position is known meanwhile.
"""

from __future__ import annotations

import os
import sqlite3
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dagflow.claims import claim
from dagflow.engine.checkpointing import positions_of
from dagflow.errors import OpenFailed, PluginError, StoreError, describe
from dagflow.store.checkpoint import CHECKPOINT, add_positions, land, read_positions
from dagflow.store.database import open_database
from dagflow.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagflow.engine.node_runner import NodeRunner
    from dagflow.engine.wiring import Wiring
    from dagflow.graph.plan import CheckpointPlan

_NAME: Final = "checkpoint"


class Adding:
    """A checkpoint of a file, as seen by whoever hands in other records than its sources."""

    def __init__(self, plan: CheckpointPlan, on_trouble: Callable[[str], None]) -> None:
        self._on_trouble = on_trouble
        self._path = plan.path
        self._writer = Writer(partial(open_database, plan.path, CHECKPOINT, create=False))
        self._sinks: list[NodeRunner] = []
        self._claim: int | None = None

    @classmethod
    def to(cls, plan: CheckpointPlan | None, on_trouble: Callable[[str], None]) -> Adding | None:
        """Give that of a checkpoint which is there, and whom to tell of trouble; None if there is nothing to add to."""
        return cls(plan, on_trouble) if plan is not None and plan.path.exists() else None

    async def open(self, wiring: Wiring) -> None:
        """Tell the sinks where to go on.

        Raises:
            OpenFailed: the store can't be opened or read, or a run has it.
        """
        try:
            await self._writer.open()
            positions = await self._writer.ask(read_positions)
            if positions:  # else it concerns no sink, and a run may be at work
                self._claim = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
                claim(self._claim, self._path)
                positions = await self._writer.ask(_read)
        except sqlite3.Error as error:
            raise OpenFailed(_NAME, StoreError(self._path, str(error))) from error
        except (OSError, PluginError, StoreError) as error:
            raise OpenFailed(_NAME, error) from error
        for _, context in wiring.plugins:
            context.resumes = context.resumes or context.name in positions
            context.position = positions.get(context.name)
        self._sinks = [node for node in wiring.nodes.values() if node.plan.name in positions]

    async def begin(self) -> None:
        """Forget the positions, once the sinks are there.

        Raises:
            OpenFailed: that could not be kept.
        """
        try:
            await self._note(dict.fromkeys(positions_of(self._sinks)))
        except Exception as error:
            raise OpenFailed(_NAME, StoreError(self._path, describe(error))) from error

    async def commit(self) -> None:
        """Keep where the sinks have come to at the end; what goes wrong is told."""
        try:
            await self._note(positions_of(self._sinks))
        except Exception as error:
            self._on_trouble(f"checkpoint: {StoreError(self._path, describe(error))}")

    async def close(self) -> None:
        """Let go of the store; twice is fine."""
        await self._writer.close()
        if self._claim is not None:  # not before: SQLite loses its locks with any descriptor of its file
            os.close(self._claim)
            self._claim = None

    async def _note(self, positions: dict[str, Any]) -> None:
        for node in self._sinks:
            await node.plugin.flush()
        await self._writer.ask(partial(add_positions, positions=positions))


def _read(connection: sqlite3.Connection) -> dict[str, Any]:
    land(connection)  # it was written before the positions
    return read_positions(connection)
