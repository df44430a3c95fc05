"""NodeRunner: one stage or sink at work, with what its slots share.

A record that a slot has taken is the slot's until it is handed to an outlet or its branch is
ended. Whatever happens, one of the two happens once.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from dagflow.engine.faults import as_record_error, unknown_port
from dagflow.engine.guard import Guard, TicketCancelled
from dagflow.engine.postbox import UNFINISHED
from dagflow.errors import DeadlinePassed, EdgeFull, RecordError
from dagflow.live_values import await_live
from dagflow.plugin import Sink
from dagflow.record import Outcome
from dagflow.telemetry.instruments import Histogram

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from anyio import CancelScope

    from dagflow.channel.channel import Channel
    from dagflow.engine.faults import Faults, Unfinished
    from dagflow.engine.intake import Intake
    from dagflow.engine.join import Join
    from dagflow.engine.outlet import Outlet
    from dagflow.engine.place import Place
    from dagflow.engine.postbox import Postbox
    from dagflow.engine.turns import Turns
    from dagflow.graph.plan import NodePlan
    from dagflow.plugin import Stage
    from dagflow.record import Record

    Call = Callable[[Record], Awaitable[Any]]
    Once = Callable[["NodeRunner", Any, Call], Call]


class NodeRunner:
    """A stage or a sink, opened, with its intakes and its outlets.

    Attributes:
        intakes: one for each slot.
        join: what the intakes are then; None if the node takes records as they come.
        place: which joins lie behind it.
        postbox: where branches go that end here otherwise than they should have.
        latency: how long the plugin took for each record, retries included.
        failed, expired, cancelled: branches that ended here; `retried` counts attempts beyond the first.
        undone: records for which the plugin raised, or gave no result.
        takes_live: whether completions may still be live when they get here.
        live_slots, idle_slots: loops that run, and those of them that wait for a record.
        stragglers: scopes of slots that wait for an abandoned thread.
        position: what a sink's `flush` returned.
        turns: how many may call a sink at a time that another run may have, too; None where none will.
        once: wraps how a sink is called, so that it takes nothing again; None where it may.
    """

    def __init__(
        self,
        plan: NodePlan,
        plugin: Stage | Sink,
        channels: list[Channel],
        intakes: list[Intake],
        join: Join | None,
        outlets: Mapping[str | None, Outlet],
        place: Place,
        postbox: Postbox,
        faults: Faults,
        unfinished: Unfinished,
        clock: Callable[[], float],
        takes_live: bool,
    ) -> None:
        self.plan = plan
        self.plugin = plugin
        self.channels = channels
        self.intakes = intakes
        self.join = join
        self.outlets = outlets
        self.place = place
        self.postbox = postbox
        self.faults = faults
        self.unfinished = unfinished
        self.takes_live = takes_live
        self.guard = Guard(plan, clock, self._on_retry, postbox.keeps)
        self.latency = Histogram()
        self.failed = self.shed = self.expired = self.cancelled = self.retried = self.undone = 0
        self.idle_slots = 0
        self.live_slots = 0
        self.position: Any = None
        self.once: Once | None = None
        self.turns: Turns | None = None
        self.stragglers: set[CancelScope] = set()
        # A sink's None means delivered, a stage's means filtered.
        self.none_outcome = Outcome.FILTERED
        if isinstance(plugin, Sink):
            self.none_outcome = Outcome.HANDED_OFF if plugin.hands_off else Outcome.DELIVERED

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
        return None if self.plan.kind == "sink" or self.plan.ports else self.outlets[None].direct

    @property
    def is_ended(self) -> bool:
        """Whether nothing waits to be processed and nothing will come."""
        return all(intake.inlet.is_ended for intake in self.intakes)

    @property
    def busy(self) -> int:
        """How many slots have a record in hand."""
        return self.live_slots - self.idle_slots

    @property
    def done(self) -> int:
        """How many records the plugin processed without an error."""
        return self.latency.count - self.undone

    async def dispatch(self, record: Record, origin: Record) -> None:
        """Send one record, made of `origin`, to the outlet that its port names."""
        port, record.port = record.port, None
        outlet = self.outlets.get(port)
        if outlet is None:
            await self.fail(record, unknown_port(port), origin)
            return
        await outlet.send(record, origin)

    async def fail(self, record: Record, caught: BaseException, entered: Record | None = None) -> None:
        """Let a record end that the plugin could not process, or send it to the error port.

        `entered` is the record as it entered the node, where that has changed it since.
        """
        if isinstance(caught, TicketCancelled):
            self.cancelled += 1
            self.place.end(record, Outcome.CANCELLED)
        elif isinstance(caught, EdgeFull):
            self.shed += 1
            self._shed(record, caught)
        elif isinstance(caught, DeadlinePassed):
            self.expired += 1
            self.place.end(record, Outcome.EXPIRED, caught)
        else:
            await self._fail(record, as_record_error(caught, self.plan.name), entered)

    def end_failed(self, record: Record, error: RecordError, entered: Record | None = None) -> None:
        """End a branch as failed here."""
        self.failed += 1
        error = self.faults.note(record, as_record_error(error, self.plan.name))
        if self.plan.on_error == "dead_letter":
            self.postbox.post(record, Outcome.FAILED, error, entered=entered)
        else:
            self.place.end(record, Outcome.FAILED, error)

    def _shed(self, record: Record, caught: EdgeFull) -> None:
        """End a branch for which an edge over a broker has no room."""
        if any(channel.edge.dead_letter for channel in self.channels):
            self.postbox.post(record, Outcome.SHED, reason=caught.reason)
        else:
            self.place.end(record, Outcome.SHED)

    def count_expired(self) -> None:
        """Count a branch whose deadline passed before the plugin saw it."""
        self.expired += 1

    def end_unfinished(self, record: Record, entered: Record | None = None, kept: bool = True) -> None:
        """End a branch that a forced stop found in a slot's hand; `kept` is whether it may become a letter."""
        self.cancelled += 1
        self.unfinished.note(record, self.plan.name)
        if kept:
            self.postbox.post(record, Outcome.CANCELLED, reason=UNFINISHED, entered=entered)
        else:
            self.place.end(record, Outcome.CANCELLED)

    def release_stragglers(self) -> None:
        """Let slots go that only wait for an abandoned thread, once nothing will come for them."""
        if self.stragglers and self.is_ended:
            for scope in self.stragglers:
                scope.cancel()

    async def _fail(self, record: Record, error: RecordError, entered: Record | None) -> None:
        if self.plan.on_error != "port":
            self.end_failed(record, error, entered)
            return
        error = self.faults.clean(error)
        record["error"] = error.as_field()
        if not self.outlets["error"].takes(record):
            self.end_failed(record, error)
            return
        self.failed += 1
        self.faults.note(record, error)
        await self._send_to_error_port(record)

    async def _send_to_error_port(self, record: Record) -> None:
        try:
            await await_live(record.values())  # behind an error port nobody forwards chunks
        except BaseException:
            self.end_unfinished(record)
            raise
        await self.outlets["error"].send(record)

    def _on_retry(self) -> None:
        self.retried += 1
