"""Attending: starts the children, sees each through its lives, and starts one again that died."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import anyio

from dagflow.engine.lifecycle import CLOSE_TIMEOUT_S
from dagflow.errors import ProcessFailed, describe
from dagflow.processes.member import cores
from dagflow.processes.messages import Ask, Begin, Force, Go, Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dagflow.graph.plan import Plan
    from dagflow.processes.hosting import Hosting
    from dagflow.processes.member import Member
    from dagflow.processes.ports import Ports
    from dagflow.processes.relay import Relay
    from dagflow.processes.summary import Summary
    from dagflow.processes.tracking import Tracking

ASK_EVERY_S: Final = 0.5
"""How often children are asked how they are, in seconds."""

_BACKOFF_S: Final = 0.1
_MAX_BACKOFF_S: Final = 10.0
_MOST_VAIN_STARTS: Final = 5  # in a row, of a child that dies before it is ready


class Attending:
    """The children of one run.

    Attributes:
        plan: what one that is started runs.
        stopped_by: why they are to drain; None if they are not.
        on_failure: told why the run cannot go on.
    """

    _ports: Ports

    def __init__(
        self,
        plan: Plan,
        members: Sequence[Member],
        sinks: Hosting,
        relays: Mapping[str, Relay],
        tracking: Tracking,
        summary: Summary,
        log: Any,
    ) -> None:
        self.stopped_by: str | None = None
        self.on_failure: Callable[[str], None] = lambda reason: None
        self.plan = plan
        self._members = members
        self._sinks = sinks
        self._relays = relays
        self._tracking = tracking
        self._summary = summary
        self._log = log

    async def start(self, ports: Ports) -> None:
        """Start all, and wait until everything is open everywhere.

        Args:
            ports: where sources listen that all have, and where they meet.

        Raises:
            ProcessFailed: one could not be started; then none is left.
        """
        self._ports = ports
        results = await asyncio.gather(*map(self._start_first, self._members))
        for failure in filter(None, results):
            self.kill_all()
            raise failure

    async def _start_first(self, member: Member) -> ProcessFailed | None:
        """Start a child until everything is open there; gives why that cannot be."""
        for _ in range(_MOST_VAIN_STARTS):
            await member.start(self._begin(member))
            if await member.wait_ready():
                return None
            failure = self._failure(member, await member.wait_gone())
            if member.failure is not None:  # so it would be the next time
                break
        return failure

    async def run(self) -> None:
        """Let records flow, and wait until all have ended."""
        for member in self._members:
            member.takes_records = True
            member.link.send(Go())
        async with anyio.create_task_group() as attending:
            for member in self._members:
                attending.start_soon(self._attend, member)

    async def ask(self) -> None:
        """Ask all how they are, now and then, until cancelled."""
        while True:
            for member in self._members:
                if member.ready.is_set() and not member.gone.is_set():
                    member.link.send(Ask())
            await asyncio.sleep(ASK_EVERY_S)

    def stop(self, reason: str) -> None:
        """Have all drain."""
        self.stopped_by = reason
        for member in self._members:
            member.link.send(Stop(reason))

    def force(self, reason: str) -> None:
        """Have all end now."""
        for member in self._members:
            if member.starts:
                member.link.send(Force(reason))

    def kill_all(self) -> None:
        """End all that have not said their last."""
        for member in self._members:
            if member.starts and not member.is_last:
                member.kill()

    async def wait_all_gone(self) -> None:
        """End what is left after a failure."""
        self.kill_all()
        with anyio.move_on_after(CLOSE_TIMEOUT_S):
            for member in self._members:
                if member.starts and not member.is_last:
                    await member.wait_gone()

    def _begin(self, member: Member) -> Begin:
        available, path = cores(), self.plan.path
        return Begin(
            text=self.plan.text,
            path=None if path is None else str(path),
            overrides=list(self.plan.overrides),
            index=member.index,
            count=len(self._members),
            core=available[member.index % len(available)] if self.plan.runtime.pin_cores else None,
            resumes=self._tracking.resumes,
            ledger=self._tracking.path,
            endings=self._tracking.endings if member.starts else None,
            again=self._tracking.known(),
            ports=self._ports.numbers,
            folder=str(self._ports.folder),
        )

    def _failure(self, member: Member, end: str) -> ProcessFailed:
        failed = member.failure
        if failed is not None:
            return ProcessFailed(failed.message, failed.code)
        return ProcessFailed(f"process {member.index} ended before it was ready ({end}); what it wrote stands above")

    async def _attend(self, member: Member) -> None:
        """See a child through its lives."""
        vain, pause_s = 0, _BACKOFF_S
        while True:
            began_s = anyio.current_time()
            end = await member.wait_gone()
            if member.is_last:
                self._share_failure(member)
                break
            await self._bury(member)
            if self.stopped_by is not None:
                self._summary.note_unfinished(member)
                break
            vain = 0 if member.ready.is_set() else vain + 1
            if vain == _MOST_VAIN_STARTS:
                self.on_failure(describe(self._failure(member, end)))
                break
            lasted = anyio.current_time() - began_s > _MAX_BACKOFF_S
            pause_s = _BACKOFF_S if lasted else min(2 * pause_s, _MAX_BACKOFF_S)
            told = {"process": member.index, "end": end, "again_in_s": pause_s, "records": len(member.marks)}
            self._log.error("a process died", **told)
            await asyncio.sleep(pause_s)
            await self._start_again(member)
        for relay in self._relays.values():
            relay.lose(member)

    def _share_failure(self, member: Member) -> None:
        """Have all end where one ended before its time: what kept it from going on keeps the others, too."""
        reason = None if member.state is None else member.state.standing.report["stopped_by"]
        if reason is not None and self.stopped_by is None:
            self.on_failure(reason)

    async def _bury(self, member: Member) -> None:
        """Keep what a child had done that died, and what its successor has to know."""
        for sink in self._sinks.nodes.values():
            await sink.forget(member)
        self._tracking.bury(member.marks)
        self._summary.bury(member)

    async def _start_again(self, member: Member) -> None:
        await member.start(self._begin(member))
        if not await member.wait_ready():
            return
        member.takes_records = True
        for relay in self._relays.values():
            relay.resend(member)
        member.link.send(Go())
        if self.stopped_by is not None:
            member.link.send(Stop(self.stopped_by))
