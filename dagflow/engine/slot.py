"""Slot: one of a node's `concurrency` loops. Takes a record, calls the plugin, hands on.

This is the hot path. It takes no lock, builds no cancel scope unless the record or the node
needs one, and yields to the event loop when it must wait, or after `SLICE` records.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial
from time import perf_counter, perf_counter_ns
from typing import TYPE_CHECKING, Any, Final

from anyio import CancelScope

from dagflow.engine.faults import is_interruption
from dagflow.engine.results import SLICE, pass_on, pass_on_yielded
from dagflow.engine.thread import ThreadCall
from dagflow.errors import EndOfStream, WouldBlock
from dagflow.live_values import abandon_dropped
from dagflow.record import Record
from dagflow.trail import Stay, note_failed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagflow.engine.intake import Intake
    from dagflow.engine.node_runner import NodeRunner

_HANDED_ON: Final = object()  # the result of a generator, whose records have gone their ways
_END: Final = object()


class Slot:
    """One loop of a node."""

    __slots__ = (
        "_bell",
        "_call",
        "_entered",
        "_guarded",
        "_inlet",
        "_needs_guard",
        "_node",
        "_notes",
        "_task",
        "_thread",
    )

    def __init__(self, node: NodeRunner, intake: Intake, cancellable: bool, notes: bool = False) -> None:
        """Build a slot; `cancellable`: whether records may be cancelled; `notes`: whether some have trails."""
        self._node = node
        self._notes = notes
        self._inlet, self._bell = intake
        self._thread = ThreadCall(node.call) if node.is_plain_function else None
        self._call = self._thread or node.call
        self._needs_guard = cancellable or node.guard.is_needed or node.is_generator or node.takes_live
        self._guarded = self._needs_guard or node.postbox.keeps
        self._entered: tuple[Record, Record] | None = None
        self._task: asyncio.Task[Any] | None = None

    async def run(self) -> None:
        """Process records until none will come."""
        node, self._task = self._node, asyncio.current_task()
        node.live_slots += 1
        try:
            await self._loop()
        finally:
            node.live_slots -= 1
            node.release_stragglers()

    async def _loop(self) -> None:
        node, guarded = self._node, self._guarded
        call, guarded_call = map(self._wrapped, (self._call, self._guarded_call))
        receive_nowait, observe, forward = self._inlet.receive_nowait, node.latency.pending.append, node.forward
        none_outcome, is_before_join = node.none_outcome, bool(node.place.joins)
        notes, name = self._notes, node.plan.name
        budget = SLICE
        while True:
            budget -= 1
            if not budget:
                budget = SLICE
                node.latency.fold()
                await asyncio.sleep(0)
            try:
                record = receive_nowait()
            except WouldBlock:
                await self._wait_for_record()
                budget = SLICE
                continue
            except EndOfStream:
                return
            start = perf_counter_ns()
            try:
                if guarded or record.deadline is not None:
                    result = await guarded_call(record)
                else:
                    result = await call(record)
            except BaseException as error:
                self._note_undone(record, start, error)
                if is_interruption(error):
                    node.end_unfinished(record, self._origin(record))
                    raise
                await node.fail(record, error, self._origin(record))
                await self._wait_for_thread()
                continue
            end = perf_counter_ns()
            observe(end - start)
            if notes and (trail := record.ticket.trail) is not None:
                trail.stays.append(Stay(name, start, end, None))
            if result is record and forward is not None and record.port is None:
                try:
                    forward.send_nowait(record)
                except WouldBlock:
                    await forward.send(record)
            elif result is None and not is_before_join:
                record.ticket.end(none_outcome)
            elif result is not _HANDED_ON:
                await pass_on(node, result, self._origin(record))

    def _wrapped(self, call: Callable[[Record], Awaitable[Any]]) -> Callable[[Record], Awaitable[Any]]:
        """Give a way to call the plugin with what the node asks for around each call."""
        node = self._node
        if node.once is not None:
            call = node.once(node, self._inlet, call)
        if node.turns is not None:
            call = node.turns.wrap(call)
        return call if node.join is None else node.join.checking(call)

    def _note_undone(self, record: Record, start: int, error: BaseException) -> None:
        node, end = self._node, perf_counter_ns()
        node.latency.pending.append(end - start)
        node.undone += 1
        if self._notes:
            note_failed(record, node.plan.name, start, end, error)

    async def _wait_for_record(self) -> None:
        self._node.idle_slots += 1
        try:
            await self._bell.wait()
        finally:
            self._node.idle_slots -= 1
        if self._inlet.depth > 1:
            self._bell.rouse()

    async def _wait_for_thread(self) -> None:
        """Keep the slot taken while an abandoned call's thread still runs."""
        if self._thread is None or self._thread.is_idle:
            return
        with CancelScope() as scope:
            self._node.stragglers.add(scope)
            self._node.release_stragglers()
            try:
                await self._thread.wait_idle()
            finally:
                self._node.stragglers.discard(scope)

    def _origin(self, record: Record) -> Record:
        """Give a record as it entered the node: itself, where the plugin got a copy."""
        entered = self._entered
        return entered[1] if entered is not None and entered[0] is record else record

    async def _note_entered(self, record: Record) -> Any:
        """Call the plugin with a record of which letters may be kept, which costs less than guarding it."""
        if record.deadline is not None:
            return await self._attempt(record)
        self._entered = record, record.copy()
        return await self._call(record)

    @property
    def _guarded_call(self) -> Callable[[Record], Awaitable[Any]]:
        if not self._needs_guard and self._guarded:
            return self._note_entered
        if self._node.is_generator:
            call = self._generate
        else:
            call = self._write if self._node.plan.kind == "sink" else self._attempt
        if self._node.takes_live:
            call = partial(self._read_live, call)
        return call

    async def _read_live(self, call: Callable[[Record], Awaitable[Any]], record: Record) -> Any:
        """Call the plugin with a record whose completion may be live: nobody reads what goes no further."""
        result = await call(record)
        if result is not _HANDED_ON:
            onward = result if isinstance(result, Record) else record.ticket.answer or {}
            abandon_dropped(record.values(), onward.values())
        return result

    async def _attempt(self, record: Record) -> Any:
        return await self._node.guard.run(record, self._call, self._task)

    async def _write(self, record: Record) -> None:
        await self._node.guard.run(record, self._call, self._task)
        ticket = record.ticket
        if ticket.running is not None and ticket.delivered is None:
            ticket.delivered = record

    async def _generate(self, record: Record) -> Any:
        """Send on what the stage yields, as it comes; only the first step may be retried."""
        node, guard, ticket = self._node, self._node.guard, record.ticket
        generator = None
        started = perf_counter()

        async def begin(work: Record) -> Any:
            nonlocal generator
            whole = node.plugin.process_whole(work)
            if whole is not None:
                return await whole
            generator = node.call(work)
            return await anext(generator, _END)

        async def proceed() -> Any:
            return await guard.timed(anext(generator, _END), self._task, perf_counter() - started)

        part = await guard.run(record, begin, self._task)
        if generator is None:
            return part
        if part is _END:
            return None
        if ticket.accepted is not None:
            ticket.accepted.streamed[node.plan.name, record.id] = record
        count = 0
        async with aclosing(generator):
            while part is not _END:
                if count:
                    node.place.split(ticket, 1)
                else:
                    node.place.fork(ticket, 1)
                await pass_on_yielded(node, part, record, count)
                count += 1
                if not count % SLICE:
                    await asyncio.sleep(0)
                part = await guard.within_life(record, proceed, self._task)
        node.place.release(ticket)
        return _HANDED_ON
