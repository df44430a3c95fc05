"""Replacing: another plan for all processes. It takes over when it is open in each of them, and in the parent.

Each process changes its engine by itself, as a run of one process does. Sources that only the parent can read, whose
records it sends to the others, keep a plan from being replaced.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from dagflow.engine.lifecycle import close_plugins, open_plugins
from dagflow.errors import NotReplaced
from dagflow.graph.replacing import find_hindrances, kept_exporters
from dagflow.processes.dividing import far_sinks, far_sources
from dagflow.processes.hosting import Hosting
from dagflow.processes.messages import Drop, Go, Next, NotOpened, Opened
from dagflow.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dagflow.graph.plan import Plan
    from dagflow.processes.hosting import OnWritten
    from dagflow.processes.member import Member
    from dagflow.processes.ports import Ports


class Replacing:
    """One attempt to have another plan take over.

    Args:
        hosting: what the parent has open.

    Attributes:
        fresh: what it opens for the new plan.
    """

    def __init__(self, before: Plan, plan: Plan, members: Sequence[Member], hosting: Hosting, log: Any) -> None:
        self.fresh = Hosting(plan, hosting.clock, log)
        self._before = before
        self._plan = plan
        self._members = members
        self._hosting = hosting
        self._log = log
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._numbers: dict[str, int] = {}

    def check(self) -> None:
        """See whether the plan may take over.

        Raises:
            NotReplaced: it may not.
        """
        hindrances = list(dict.fromkeys(self._hindrances()))
        if hindrances:
            raise NotReplaced(hindrances)

    async def open(self, ports: Ports, on_written: OnWritten) -> None:
        """Open what is new, here and in all processes.

        Raises:
            DagflowError: that is not possible; then nothing of it is open.
        """
        loop = asyncio.get_running_loop()
        try:
            for name in far_sinks(self._plan):
                if name not in self._hosting.nodes:
                    self.fresh.host_sink(self._plan.nodes[name], on_written)
            kept = kept_exporters(self._before, self._plan)
            for name, exporter in self._plan.exporters.items():
                if name not in kept:
                    self.fresh.host_exporter(exporter)
            with Redactor.of(self._plan).scrubbing():
                await open_plugins(self.fresh)
            self._numbers = ports.open_for(self._plan)
            path = None if self._plan.path is None else str(self._plan.path)
            message = Next(self._plan.text, path, list(self._plan.overrides), self._numbers)
            for member in self._members:
                self._answers[member.index] = loop.create_future()
                member.link.send(message)
            await self._all_answered()
        except BaseException:
            for member in self._members:
                member.link.send(Drop())
            await close_plugins(self.fresh, self._log)
            raise

    def take_over(self, ports: Ports) -> None:
        """Let it take over everywhere."""
        ports.numbers = self._numbers
        for member in self._members:
            member.link.send(Go())

    def on_answer(self, member: Member, answer: Opened | NotOpened) -> None:
        """Take what a process says of the new plan."""
        waiting = self._answers.get(member.index)
        if waiting is None or waiting.done():
            return
        if isinstance(answer, Opened):
            waiting.set_result(None)
        else:
            waiting.set_exception(NotReplaced([f"process {member.index}: {answer.message}"]))

    async def _all_answered(self) -> None:
        """Wait for all processes.

        Raises:
            NotReplaced: one cannot open the plan, or has died.
        """
        opened = asyncio.gather(*self._answers.values())
        deaths = [asyncio.ensure_future(member.gone.wait()) for member in self._members]
        try:
            done, _ = await asyncio.wait([opened, *deaths], return_when=asyncio.FIRST_COMPLETED)
            if opened not in done:
                raise NotReplaced(["a process died while the new plan was opened"])
            opened.result()
        finally:
            opened.cancel()
            for death in deaths:
                death.cancel()

    def _hindrances(self) -> Iterator[str]:
        yield from find_hindrances(self._before, self._plan)
        for name in sorted(_relayed(self._before, self._plan)):
            yield f"source `{name}` is read by the parent for all processes, and cannot be handed over"
        for name, sink in self._hosting.nodes.items():
            if name in self._plan.nodes and self._plan.nodes[name] != sink.plan:
                yield f"sink `{name}` is there once only, so it cannot be changed while it runs"
        for member in self._members:
            if not member.takes_records:
                yield f"process {member.index} is being started"


def _relayed(*plans: Plan) -> Iterable[str]:
    return {name for plan in plans for name in far_sources(plan)}
