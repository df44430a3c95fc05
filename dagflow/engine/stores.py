"""Stores: what a run keeps on disk: dead letters, the checkpoint, what overflows from edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyio import move_on_after

from dagflow.engine.lifecycle import CLOSE_TIMEOUT_S

if TYPE_CHECKING:
    from dagflow.engine.adding import Adding
    from dagflow.engine.checkpointing import Checkpointing
    from dagflow.engine.wiring import Wiring


class Stores:
    """The stores of one run, those that it has."""

    def __init__(self, wiring: Wiring, checkpoint: Checkpointing | None, adding: Adding | None, log: Any) -> None:
        """Take what is wired, and the checkpoint if there is one: that of the run, or one that it adds to."""
        self._wiring = wiring
        self._checkpoint = checkpoint
        self._adding = adding
        self._log = log

    async def open(self) -> None:
        """Open them, the checkpoint before what it knows of.

        Raises:
            OpenFailed: one of them can't be opened.
            CheckpointMismatch: the checkpoint is of a file that meant something else.
        """
        if self._wiring.letters is not None:
            await self._wiring.letters.open()
        if self._checkpoint is not None:
            await self._open_checkpoint(self._checkpoint)
        if self._adding is not None:
            await self._adding.open(self._wiring)
        await self._wiring.spilling.open()

    async def begin(self) -> None:
        """Note where the sinks begin, which are open by now.

        Raises:
            OpenFailed: that could not be kept.
        """
        for store in filter(None, (self._checkpoint, self._adding)):
            await store.begin()

    async def commit(self) -> None:
        """Commit how things stand at the end."""
        for store in filter(None, (self._checkpoint, self._adding)):
            await store.commit()

    async def close(self) -> None:
        """Close them, whatever any of them does; twice is fine."""
        for store in filter(None, (self._wiring.letters, self._checkpoint, self._adding, self._wiring.spilling)):
            with move_on_after(CLOSE_TIMEOUT_S, shield=True):
                await store.close()

    async def _open_checkpoint(self, checkpoint: Checkpointing) -> None:
        await checkpoint.open(name for name, runner in self._wiring.sources.items() if runner.plugin.resumable)
        checkpoint.follow(self._wiring)
        if checkpoint.resumes:
            self._log.info("resuming", checkpoint=str(checkpoint.path), done=checkpoint.done_before)
