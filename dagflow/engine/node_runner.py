"""NodeRunner: one stage or sink at work, with what its slots share.

A record that a slot has taken is the slot's until it is handed to an outlet or its branch is
ended. Whatever happens, one of the two happens once.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from dagflow.channel.inlet import build_inlet
from dagflow.engine.faults import as_record_error
from dagflow.engine.guard import Guard, TicketCancelled
from dagflow.errors import DeadlinePassed, NotAStageResult, RecordError
from dagflow.record import Outcome, Record
from dagflow.telemetry.instruments import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from anyio import CancelScope

    from dagflow.channel.channel import Channel
    from dagflow.channel.doorbell import Doorbell
    from dagflow.engine.faults import Faults, Unfinished
    from dagflow.engine.outlet import Outlet
    from dagflow.graph.plan import NodePlan
    from dagflow.plugin import Sink, Stage


class NodeRunner:
    """A stage or a sink, opened, with its inlet and its outlets.

    Attributes:
        latency: how long the plugin took for each record, retries included.
        failed, expired, cancelled: records that ended here; `retried` counts attempts beyond the first.
        receivers: the doorbell that idle slots wait at.
        live_slots, idle_slots: loops that run, and those of them that wait for a record.
        stragglers: scopes of slots that wait for an abandoned thread.
        position: what a sink's `flush` returned.
    """

    def __init__(
        self,
        plan: NodePlan,
        plugin: Stage | Sink,
        channels: list[Channel],
        receivers: Doorbell,
        outlets: Mapping[str | None, Outlet],
        faults: Faults,
        unfinished: Unfinished,
        clock: Callable[[], float],
    ) -> None:
        self.plan = plan
        self.plugin = plugin
        self.channels = channels
        self.inlet = build_inlet(channels, receivers)
        self.receivers = receivers
        self.outlets = outlets
        self.faults = faults
        self.unfinished = unfinished
        self.guard = Guard(plan, clock, self._on_retry)
        self.latency = Histogram()
        self.failed = self.expired = self.cancelled = self.retried = 0
        self.idle_slots = 0
        self.live_slots = 0
        self.position: Any = None
        self.stragglers: set[CancelScope] = set()
        # A sink's None means delivered, a stage's means filtered.
        self.none_outcome = Outcome.DELIVERED if plan.kind == "sink" else Outcome.FILTERED

    @property
    def call(self) -> Callable[[Record], Any]:
        """The plugin's method, as it is after `open`."""
        return self.plugin.write if self.plan.kind == "sink" else self.plugin.process

    @property
    def is_generator(self) -> bool:
        """Whether the stage yields its records one after the other."""
        return inspect.isasyncgenfunction(self.call)

    @property
    def is_plain_function(self) -> bool:
        """Whether the plugin's method has to run in a thread."""
        return not inspect.iscoroutinefunction(self.call) and not self.is_generator

    @property
    def forward(self) -> Channel | None:
        """The one channel to which every record goes that the stage returns; None if it isn't so simple."""
        main = self.outlets.get(None)
        return None if main is None or self.plan.ports else main.direct

    @property
    def busy(self) -> int:
        """How many slots have a record in hand."""
        return self.live_slots - self.idle_slots

    @property
    def done(self) -> int:
        """How many records the plugin processed without an error."""
        return self.latency.count - self.failed - self.expired - self.cancelled

    async def pass_on(self, result: Any, origin: Record) -> None:
        """Send what a stage returned for `origin` to where it belongs."""
        if isinstance(result, Record):
            await self.dispatch(inherit(result, origin))
        elif result is None or self.plan.kind == "sink":
            origin.ticket.end(self.none_outcome)
        elif isinstance(result, str | bytes | dict) or not hasattr(result, "__iter__"):
            await self.fail(origin, NotAStageResult(result))
        else:
            await self._pass_on_parts(result, origin)

    async def dispatch(self, record: Record) -> None:
        """Send one record to the outlet that its port names."""
        port, record.port = record.port, None
        outlet = self.outlets.get(port)
        if outlet is None:
            await self.fail(record, NotAStageResult(f"a record for the port {port!r}"))
            return
        await outlet.send(record)

    async def fail(self, record: Record, caught: BaseException) -> None:
        """Let a record end that the plugin could not process, or send it to the error port."""
        if isinstance(caught, TicketCancelled):
            self.cancelled += 1
            record.ticket.end(Outcome.CANCELLED)
        elif isinstance(caught, DeadlinePassed):
            self.expired += 1
            record.ticket.end(Outcome.EXPIRED, caught)
        else:
            await self._fail(record, as_record_error(caught, self.plan.name))

    def end_failed(self, record: Record, error: RecordError) -> None:
        """End a branch as failed here."""
        self.failed += 1
        error = as_record_error(error, self.plan.name)
        self.faults.note(record, error)
        record.ticket.end(Outcome.FAILED, error)

    def end_unfinished(self, record: Record) -> None:
        """End a branch that a forced stop found in a slot's hand."""
        self.cancelled += 1
        self.unfinished.note(record, self.plan.name)
        record.ticket.end(Outcome.CANCELLED)

    def release_stragglers(self) -> None:
        """Let slots go that only wait for an abandoned thread, once nothing will come for them."""
        if self.inlet.is_ended:
            for scope in self.stragglers:
                scope.cancel()

    async def _fail(self, record: Record, error: RecordError) -> None:
        if self.plan.on_error != "port":
            self.end_failed(record, error)
            return
        self.failed += 1
        self.faults.note(record, error)
        record["error"] = error.as_field()
        await self.outlets["error"].send(record)

    async def _pass_on_parts(self, result: Iterable[Any], origin: Record) -> None:
        try:
            parts = list(result)
        except Exception as error:
            await self.fail(origin, error)
            return
        if not parts:
            origin.ticket.end(Outcome.FILTERED)
            return
        origin.ticket.split(len(parts) - 1)
        await self._send_parts(parts, origin)

    async def _send_parts(self, parts: list[Record], origin: Record) -> None:
        sent = 0
        try:
            for index, part in enumerate(parts):
                sent += 1
                await self.dispatch_part(part, origin, index)
        finally:
            for _ in parts[sent:]:
                self.end_unfinished(origin)

    async def dispatch_part(self, part: Any, origin: Record, index: int) -> None:
        """Send one of several records on, named after the one they were made of: `id/0`, `id/1`, ..."""
        if not isinstance(part, Record):
            await self.fail(origin.copy(), NotAStageResult(part))
            return
        if part.ticket is None:
            part.id = f"{origin.id}/{index}"
        await self.dispatch(inherit(part, origin))

    def _on_retry(self) -> None:
        self.retried += 1


def inherit(result: Record, origin: Record) -> Record:
    """Give a stage's record the ticket of the one it was made of, and what the stage left open."""
    if result.ticket is None:
        result.ticket = origin.ticket
        result.id = result.id or origin.id
        result.session = origin.session if result.session is None else result.session
        result.priority = result.priority or origin.priority
        result.deadline = origin.deadline if result.deadline is None else result.deadline
        result.meta = result.meta or origin.meta
    return result
