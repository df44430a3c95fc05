"""Reloading: reads the file again when somebody asks, and has its plan take over; one that is wrong changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from anyio import to_thread

from dagflow.channel.doorbell import Doorbell
from dagflow.errors import DagflowError, describe

if TYPE_CHECKING:
    from collections.abc import Callable

    import anyio

    from dagflow.graph.plan import Plan


class Replaceable(Protocol):
    """A run whose plan can be replaced."""

    @property
    def started(self) -> anyio.Event:
        """Set when records flow."""

    async def replace(self, plan: Plan) -> None:
        """Have another plan take over; returns when it has.

        Raises:
            DagflowError: it may not, or cannot be opened; nothing has changed.
        """


class Reloading:
    """Replaces the plan of a run by what its file says now.

    Args:
        load: compiles the file; called in a thread.
        on_taken: told of each plan that has taken over.
    """

    def __init__(self, run: Replaceable, load: Callable[[], Plan], on_taken: Callable[[Plan], None], log: Any) -> None:
        self._run = run
        self._load = load
        self._on_taken = on_taken
        self._log = log
        self._asked = False
        self._bell = Doorbell()

    def ask(self) -> None:
        """Have the file read again, once what is being opened has taken over, or failed."""
        self._asked = True
        self._bell.ring()

    async def run(self) -> None:
        """Do what is asked for, until cancelled."""
        await self._run.started.wait()
        while True:
            while not self._asked:
                await self._bell.wait()
            self._asked = False
            await self._reload()

    async def _reload(self) -> None:
        try:
            plan = await to_thread.run_sync(self._load, abandon_on_cancel=True)
            await self._run.replace(plan)
        except DagflowError as error:
            self._log.error("not reloaded; the run goes on as it was", code=error.code, error=describe(error))
        except Exception as error:
            self._log.error("not reloaded; the run goes on as it was", error=describe(error), exc_info=error)
        else:
            self._on_taken(plan)
            self._log.info("reloaded", nodes=len(plan.nodes))
