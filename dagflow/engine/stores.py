"""Stores: what a run keeps on disk: dead letters, the checkpoint, what overflows from edges."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from anyio import move_on_after

from dagflow.engine.adding import Adding
from dagflow.engine.checkpointing import Checkpointing
from dagflow.engine.letters import Letters
from dagflow.engine.lifecycle import CLOSE_TIMEOUT_S
from dagflow.errors import DagflowError, OpenFailed
from dagflow.graph.meaning import meaning_of
from dagflow.inference.leasing import Leasing

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagflow.engine.spilling import Spilling
    from dagflow.engine.wiring import Wiring
    from dagflow.graph.plan import Plan


class Stores:
    """The stores of one run, those that it has.

    Args:
        letters: keeps dead letters; by default what the plan says.
        checkpoint: stands in for one of the plan's own.
        fresh: whether to forget what the checkpoint knows.
        adds: whether the records are others than those of the plan's sources, which could be read again.
        on_trouble: told what cannot be kept any more, and why.

    Attributes:
        letters, checkpoint: those of the run.
        leasing: leases what limits allow that several programs share.
    """

    def __init__(
        self,
        plan: Plan,
        letters: Letters | None,
        checkpoint: Any,
        fresh: bool,
        adds: bool,
        on_trouble: Callable[[str, str], None],
        clock: Callable[[], float],
        log: Any,
    ) -> None:
        if letters is None and plan.dead_letters is not None:
            letters = Letters(plan.dead_letters)
        if letters is not None:
            letters.on_trouble = partial(on_trouble, "dead letters cannot be kept")
        on_lost_place = partial(on_trouble, "the checkpoint cannot be kept")
        if plan.checkpoint is not None and not adds:
            checkpoint = Checkpointing(plan.checkpoint, meaning_of(plan), fresh)
        if checkpoint is not None:
            checkpoint.on_trouble = on_lost_place
        self.letters: Letters | None = letters
        self.checkpoint: Checkpointing | None = checkpoint
        self._spilling: Spilling | None = None
        self._adding = Adding.to(plan.checkpoint if adds else None, on_lost_place)
        self.leasing = build_leasing(plan, clock, log)
        self._log = log

    async def open(self, wiring: Wiring) -> None:
        """Open them, the checkpoint before what it knows of.

        Raises:
            OpenFailed: one of them can't be opened.
            CheckpointMismatch: the checkpoint is of a file that meant something else.
        """
        self._spilling = wiring.spilling
        if self.leasing is not None:
            await open_leasing(self.leasing)
        if self.letters is not None:
            await self.letters.open()
        if self.checkpoint is not None:
            await self._open_checkpoint(self.checkpoint, wiring)
        if self._adding is not None:
            await self._adding.open(wiring)
        await self._spilling.open()

    async def begin(self) -> None:
        """Note where the sinks begin, which are open by now.

        Raises:
            OpenFailed: that could not be kept.
        """
        for store in filter(None, (self.checkpoint, self._adding)):
            await store.begin()

    async def commit(self) -> None:
        """Commit how things stand at the end."""
        for store in filter(None, (self.checkpoint, self._adding)):
            await store.commit()

    async def close(self) -> None:
        """Close them, whatever any of them does; twice is fine."""
        for store in filter(None, (self.letters, self.checkpoint, self._adding, self._spilling, self.leasing)):
            with move_on_after(CLOSE_TIMEOUT_S, shield=True):
                await store.close()

    async def _open_checkpoint(self, checkpoint: Checkpointing, wiring: Wiring) -> None:
        await checkpoint.open(name for name, runner in wiring.sources.items() if runner.plugin.resumable)
        checkpoint.follow(wiring)
        if checkpoint.resumes:
            self._log.info("resuming", checkpoint=str(checkpoint.path), done=checkpoint.done_before)


def build_leasing(plan: Plan, clock: Callable[[], float], log: Any) -> Leasing | None:
    """Build what leases that of limits which several programs share, if the plan says so."""
    if plan.shared is None:
        return None
    store = plan.shared.transport.build().build_store(plan.shared.bucket, f"{plan.name} [shared]", log)
    return Leasing(store, clock, log)


async def open_leasing(leasing: Leasing) -> None:
    """Open it.

    Raises:
        OpenFailed: what is shared cannot be reached, or is not there.
    """
    try:
        await leasing.open()
    except DagflowError as error:
        raise OpenFailed("shared", error) from error
