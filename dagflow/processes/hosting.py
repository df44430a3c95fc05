"""Hosting: the plugins of which there is only one, in the parent.

Sinks are called as an engine would call them: as many at a time as their `concurrency` says, in the order in which each
child sent its records. Retries, timeouts and failures are the children's.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import anyio

from dagflow.access.grants import Grants
from dagflow.channel.doorbell import Doorbell
from dagflow.config.auth_tables import all_tokens
from dagflow.engine.exporting import Exporting
from dagflow.engine.lifecycle import CLOSE_TIMEOUT_S
from dagflow.engine.thread import ThreadCall
from dagflow.engine.wiring import Roster
from dagflow.plugin import Context
from dagflow.processes.messages import Write, Written
from dagflow.processes.packing import pack_error, unpack_record
from dagflow.telemetry.instruments import Metrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from dagflow.graph.plan import ExporterPlan, NodePlan, Plan
    from dagflow.processes.member import Member

    OnWritten = Callable[[Member, Write], None]


class Hosting(Roster):
    """What the parent has opened.

    Attributes:
        nodes: the sinks, and `exporters`, by name.
        metrics: what they count, by their names.
    """

    def __init__(self, plan: Plan, clock: Callable[[], float], log: Any) -> None:
        super().__init__()
        self.nodes: dict[str, HostedSink] = {}
        self.exporters: dict[str, Exporting] = {}
        self.metrics: dict[str, Metrics] = {}
        self._plan = plan
        self.clock = clock
        self._log = log

    def host(self, plan: NodePlan | ExporterPlan) -> tuple[Any, Context]:
        """Build a plugin that will be opened here."""
        plugin, metrics, auth = plan.cls(plan.options), Metrics(), self._plan.auth
        self.metrics[plan.name] = metrics
        context = Context(
            name=plan.name,
            pipeline=self._plan.name,
            logger=self._log.bind(node=plan.name),
            clock=self.clock,
            metrics=metrics,
            timeout_s=getattr(plan, "timeout_s", None),
            grants=None if auth is None else Grants(all_tokens(auth)),
        )
        self.plugins.append((plugin, context))
        return plugin, context

    def host_sink(self, node: NodePlan, on_written: OnWritten) -> None:
        """Have a sink that all children write to; who asks for it is told of all that it has taken, as it takes it."""
        plugin, _ = self.host(node)
        self.nodes[node.name] = HostedSink(node, plugin, on_written)

    def host_exporter(self, exporter: ExporterPlan) -> None:
        """Have an exporter of what all processes count."""
        plugin, context = self.host(exporter)
        self.exporters[exporter.name] = Exporting(exporter, plugin, self._plan.metric_labels, context.logger)

    def replace(self, fresh: Hosting, exporters: Iterable[str]) -> None:
        """Take over what was opened for another plan; sinks that it has no more stay until the end.

        Args:
            exporters: the names of those that it has.
        """
        self.plugins += fresh.plugins
        self.opened += fresh.opened
        self.nodes |= fresh.nodes
        self.metrics |= fresh.metrics
        known = self.exporters | fresh.exporters
        self.exporters = {name: known[name] for name in exporters}


class HostedSink:
    """One sink.

    Attributes:
        position: what it said at the end.
    """

    def __init__(self, plan: NodePlan, plugin: Any, on_written: OnWritten) -> None:
        self.plan = plan
        self.plugin = plugin
        self.position: Any = None
        self._on_written = on_written
        self._waiting: deque[tuple[Member, Write]] = deque()
        self._working: set[asyncio.Task[None]] = set()
        self._in_hand: Counter[Member] = Counter()
        self._ended = Doorbell()

    def take(self, member: Member, write: Write) -> None:
        """Write what a child sent, at once where that can be."""
        if not self._waiting and not self._working and isinstance(write.record, bytes):
            try:
                if (pending := self.plugin.put(write.record)) is None:
                    self._end(member, write)
                    return
            except Exception as error:
                self._end(member, write, error)
                return
            self._in_hand[member] += 1
            self._start(self._await(pending, member, write))
            return
        self._waiting.append((member, write))
        if len(self._working) < self.plan.concurrency:
            self._start(self._work())

    def withdraw(self, member: Member, number: int) -> None:
        """Leave out what a child does not want written any more, if it has not begun."""
        for waiting in self._waiting:
            if waiting[0] is member and waiting[1].number == number:
                self._waiting.remove(waiting)
                return

    async def forget(self, member: Member) -> None:
        """Leave out what a child that died wanted written, and wait for what has begun: its successor asks again."""
        self._waiting = deque(waiting for waiting in self._waiting if waiting[0] is not member)
        with anyio.move_on_after(CLOSE_TIMEOUT_S):
            while self._in_hand[member]:
                await self._ended.wait()

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _await(self, pending: Awaitable[None], member: Member, write: Write) -> None:
        await self._see_through(pending, member, write)
        await self._work()

    async def _work(self) -> None:
        call = self._call()
        while self._waiting:
            member, write = self._waiting.popleft()
            self._in_hand[member] += 1
            await self._see_through(call(write), member, write)

    async def _see_through(self, writing: Awaitable[Any], member: Member, write: Write) -> None:
        try:
            await writing
        except Exception as error:
            self._end(member, write, error)
        else:
            self._end(member, write)
        finally:
            self._in_hand[member] -= 1
            self._ended.ring_all()

    def _call(self) -> Callable[[Write], Awaitable[Any]]:
        """Give what writes one after the other: a sink that is no coroutine function has a thread."""
        write = self.plugin.write
        if not asyncio.iscoroutinefunction(write):
            write = ThreadCall(write)

        async def call(message: Write) -> None:
            if isinstance(message.record, bytes):
                if (pending := self.plugin.put(message.record)) is not None:
                    await pending
            else:
                await write(unpack_record(message.record))

        return call

    def _end(self, member: Member, write: Write, error: BaseException | None = None) -> None:
        if error is None:
            self._on_written(member, write)
        member.link.send(Written(write.number, None if error is None else pack_error(error)))
