"""Checkpointing: keeps what a run has done, so that a later one goes on from there.

Now and then, in one step of the event loop, it notes what has settled, how far each sink has come, and what sinks have
of records that have not settled. That is committed once the sinks have made it durable. So what stands before a sink's
position was written for a record that the checkpoint knows, and what stands behind it is written again.

A record is done when it was delivered or filtered, or failed with its dead letter kept; all else is open.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections import Counter, defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dagflow.channel.inlet import Inlet
from dagflow.claims import claim
from dagflow.engine.mark import Mark
from dagflow.errors import CheckpointMismatch, OpenFailed, PluginError, StoreError, describe
from dagflow.store.checkpoint import (
    CHECKPOINT,
    Step,
    add_step,
    land,
    may_mean,
    mean,
    read_meaning,
    read_positions,
    read_settled,
    start_over,
)
from dagflow.store.database import open_database
from dagflow.store.ledger import Ledger
from dagflow.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from pathlib import Path

    from dagflow.engine.node_runner import NodeRunner
    from dagflow.engine.wiring import Wiring
    from dagflow.graph.plan import CheckpointPlan
    from dagflow.record import Outcome, Record, Ticket

    Call = Callable[[Record], Awaitable[Any]]

EVERY_S: Final = 0.05
"""The pause between two commits, in seconds; a commit takes some time of its own."""

_NAME: Final = "checkpoint"


class Checkpointing:
    """The checkpoint of one run.

    Attributes:
        positions: where each sink is to go on.
        done_before: how many records earlier runs have done.
        begun: what sinks have of records that earlier runs had begun, by source and key.
        on_trouble: told why no more records can be taken in.
    """

    def __init__(self, plan: CheckpointPlan, meaning: Mapping[str, Any], fresh: bool) -> None:
        """Take the plan, what the file means, and whether to start over."""
        self.positions: dict[str, Any] = {}
        self.on_trouble: Callable[[str], None] = lambda reason: None
        self._plan = plan
        self._meaning = meaning
        self._fresh = fresh
        self._writer = Writer(partial(open_database, plan.path, CHECKPOINT, create=True))
        self._ledgers: dict[str, Ledger] = {}
        self.begun: defaultdict[tuple[str, bytes], Counter[tuple[str, str]]] = defaultdict(Counter)
        self._flying: dict[Mark, None] = {}
        self._taken_over: set[tuple[str, bytes]] = set()
        self._next = Step()
        self._sinks: list[NodeRunner] = []
        self._noted: dict[str, Any] = {}
        self._claim: int | None = None
        self._begins = False
        self._forget = partial(mean, meaning=meaning)
        self.done_before = 0

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return self._plan.path

    @property
    def resumes(self) -> bool:
        """Whether this run goes on with the work of an earlier one."""
        return self.done_before > 0 or bool(self.begun)

    async def open(self, sources: Iterable[str]) -> None:
        """Open the store and read what was done.

        Raises:
            CheckpointMismatch: it is of a file that meant something else.
            OpenFailed: it can't be opened or read.
        """
        self._ledgers = {source: Ledger() for source in sources}
        try:
            await self._writer.open()
            self._claim = os.open(self._plan.path, os.O_RDONLY | os.O_CLOEXEC)
            claim(self._claim, self._plan.path)
            await self._writer.ask(self._read)
        except sqlite3.Error as error:
            raise OpenFailed(_NAME, StoreError(self._plan.path, str(error))) from error
        except (OSError, PluginError, StoreError) as error:
            raise OpenFailed(_NAME, error) from error
        except ValueError as error:
            raise OpenFailed(_NAME, StoreError(self._plan.path, f"it is damaged: {error}")) from error

    def follow(self, wiring: Wiring) -> None:
        """Tell the sinks where to go on, and take those whose positions are kept."""
        for _, context in wiring.plugins:
            context.resumes = context.resumes or self.resumes or bool(self.positions)
            context.position = self.positions.get(context.name)
        self._sinks = [node for node in wiring.nodes.values() if node.plan.kind == "sink"]

    def admit(self, source: str, record: Record) -> Mark | None:
        """Mark a record that a source brings; None if it is done."""
        key = self._ledgers[source].admit(record.key)
        if key is None or (source, key) in self._taken_over:
            return None
        return Mark(source, key, record.id, self.begun.pop((source, key), None))

    def take_over(self, source: str, key: bytes, id: str, written: Iterable[Iterable[str]]) -> Mark | None:
        """Mark a record that an edge has kept, so that its source does not hand it in once more.

        Args:
            id: the one it had when it was accepted.
            written: the edges by which sinks had got it by then, and under which ids.

        Returns:
            None if it is done, or if a sink has been cut back to where it has it no more.
        """
        ledger, had = self._ledgers.get(source), self.begun.get((source, key))
        if (
            self._begins
            or ledger is None
            or ledger.has_settled(key)
            or (source, key) in self._taken_over
            or Counter(map(tuple, written)) != (had or Counter())
        ):
            return None
        self._taken_over.add((source, key))
        return Mark(source, key, id, self.begun.pop((source, key), None))

    def note_settled(self, ticket: Ticket, outcome: Outcome) -> None:
        """Take note of how a record ended."""
        self.note_ended(ticket.mark, ticket.is_done(outcome))

    def note_ended(self, mark: Mark, is_done: bool) -> None:
        """Take note that a record has ended, and whether anything of it is left to do."""
        self._flying.pop(mark, None)
        mark.ended, mark.is_done = True, is_done
        if is_done:
            self._next.settled[mark.source] += mark.key
            if mark.had is not None:
                self._next.done.append((mark.source, mark.key))
        else:
            self._next.landed += mark.taken

    def once(self, node: NodeRunner, inlet: Any, call: Call) -> Call:
        """Wrap how a sink is called from an inlet, so that it does not take again what an earlier run has given it.

        Two branches of one record may lead to it, so what it has is known by its edge.
        """
        edges = [channel.edge.name for channel in node.channels]

        async def once(record: Record) -> Any:
            edge = edges[inlet.last if isinstance(inlet, Inlet) else 0]  # that of this record, as long as nothing waits
            mark: Mark | None = record.ticket.mark
            if mark is None:
                return await call(record)
            rest = mark.rest(record)
            if not mark.take_written(edge, rest):
                await call(record)
                self.note_written(mark, edge, rest)
            return None

        return once

    def note_written(self, mark: Mark, edge: str, rest: str) -> None:
        """Take note that a sink has a record, or one that was made of it; in the step in which it took it."""
        mark.written.append((edge, rest))
        if not mark.ended:
            self._flying[mark] = None
        elif not mark.is_done:
            self._next.landed.append(mark.taken[-1])

    async def begin(self) -> None:
        """Commit where the sinks begin, before the first record: a kill at any time later finds what to cut off.

        What is forgotten is so only now, since a run that does not start changes nothing.

        Raises:
            OpenFailed: that could not be kept.
        """
        try:
            if self._begins:
                await self._writer.ask(self._forget)
            await self._keep(Step(positions=positions_of(self._sinks)))
        except Exception as error:
            raise OpenFailed(_NAME, StoreError(self._plan.path, describe(error))) from error

    async def run(self) -> None:
        """Commit now and then, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.commit()

    async def commit(self) -> None:
        """Commit how things stand; what goes wrong is told, and nothing of it is lost for the next time."""
        step, self._next = self._next, Step()
        committed = False
        try:
            step.positions = positions_of(self._sinks)
            step.flying = [written for mark in self._flying for written in mark.taken]
            # Not all that sinks write is of a record that is known here.
            if not step.is_empty or step.flying or step.positions != self._noted:
                await self._keep(step)
            committed = True
        except Exception as error:
            self.on_trouble(f"checkpoint: {StoreError(self._plan.path, describe(error))}")
        finally:
            if not committed:
                self._next.follow(step)

    async def close(self) -> None:
        """Let go of the store; twice is fine."""
        await self._writer.close()
        if self._claim is not None:  # not before: SQLite loses its locks with any descriptor of its file
            os.close(self._claim)
            self._claim = None
        for ledger in self._ledgers.values():
            ledger.close()

    def as_dict(self) -> dict[str, Any]:
        """Give the numbers as JSON-like values."""
        skipped = {name: ledger.skipped for name, ledger in self._ledgers.items()}
        return {"path": str(self._plan.path), "resumed": self.resumes, "skipped": sum(skipped.values())}

    async def _keep(self, step: Step) -> None:
        for node in self._sinks:
            if node.plan.name in step.positions:
                await node.plugin.flush()
        await self._writer.ask(partial(add_step, step=step))
        self._noted = step.positions

    def _read(self, connection: sqlite3.Connection) -> None:
        """Read what an earlier run has done; called in the thread of the store."""
        meaning = read_meaning(connection)
        self._begins = meaning != self._meaning or self._fresh
        if meaning is None or self._fresh:
            self._forget = partial(start_over, meaning=self._meaning)
            return
        if meaning != self._meaning and not may_mean(connection, meaning, self._meaning):
            raise CheckpointMismatch(self._plan.path, differences(meaning, self._meaning))
        self.positions = read_positions(connection)
        for source, key, edge, id in land(connection):
            self.begun[source, key][edge, id] += 1
        self.done_before = sum(
            ledger.fill(read_settled(connection, source)) for source, ledger in self._ledgers.items()
        )


def positions_of(sinks: Iterable[NodeRunner]) -> dict[str, Any]:
    """Give how far those sinks have come that know it."""
    positions = {node.plan.name: node.plugin.position() for node in sinks}
    return {sink: position for sink, position in positions.items() if position is not None}


def differences(before: Any, now: Any, place: str = "") -> list[str]:
    """Name the places at which two values of JSON differ."""
    if before == now:
        return []
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [place]
    found = []
    for name in dict.fromkeys([*before, *now]):
        found += differences(before.get(name), now.get(name), f"{place}.{name}" if place else name)
    return found
