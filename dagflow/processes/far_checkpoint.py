"""FarCheckpoint: what a child knows of a checkpoint, and tells the parent for it; each child has one.

The parent learns of each record when it is taken in, of each line in the step in which it is written, and of each end.
So it knows at any moment what a child that dies leaves behind.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from dagflow.channel.inlet import Inlet
from dagflow.engine.mark import Mark
from dagflow.errors import OpenFailed, RedeliveredTooOften, StoreError, describe
from dagflow.processes.endings import read_endings
from dagflow.processes.far_sink import EDGE
from dagflow.processes.messages import Settled, Taken
from dagflow.processes.packing import pack_error
from dagflow.store.checkpoint import CHECKPOINT, read_settled
from dagflow.store.database import open_database
from dagflow.store.ledger import Ledger
from dagflow.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from dagflow.engine.node_runner import NodeRunner
    from dagflow.engine.wiring import Wiring
    from dagflow.processes.desk import Desk
    from dagflow.processes.messages import Again, Begin
    from dagflow.record import Outcome, Record, Ticket

    Call = Callable[[Record], Awaitable[Any]]


class FarCheckpoint:
    """In the place of a `Checkpointing`, in a child.

    Args:
        max_deaths: how many processes may die while they have a record, before it is taken for the cause.
    """

    def __init__(self, desk: Desk, begin: Begin, max_deaths: int) -> None:
        self.on_trouble: Callable[[str], None] = lambda reason: None
        self.path = Path(begin.ledger or "")
        self.resumes = begin.resumes
        self.done_before = 0
        self._desk = desk
        self._again = {(again.source, again.key): again for again in begin.again}
        self._max_deaths = max_deaths
        # What brought a process down may do so before a message has left it.
        self._is_careful = any(again.deaths for again in begin.again)
        self._ledgers: dict[str, Ledger] = {}
        self._folder = begin.endings
        self._ended: dict[str, Ledger] = {}

    async def open(self, sources: Iterable[str]) -> None:
        """Read what has settled.

        Raises:
            OpenFailed: it can't be read.
        """
        self._ledgers = {source: Ledger() for source in sources if source not in self._desk.sources}
        if self._folder is not None:
            for source in self._ledgers:
                self._ended[source] = Ledger()
                await to_thread.run_sync(self._ended[source].fill, read_endings(Path(self._folder), source))
        if not self._ledgers or not self.path.name:
            return
        reader = Writer(partial(open_database, self.path, CHECKPOINT, create=False))
        try:
            await reader.open()
            await reader.ask(self._read)
        except Exception as error:
            raise OpenFailed("checkpoint", StoreError(self.path, describe(error))) from error
        finally:
            await reader.close()

    def _read(self, connection: Any) -> None:
        self.done_before = sum(
            ledger.fill(read_settled(connection, source)) for source, ledger in self._ledgers.items()
        )

    def follow(self, wiring: Wiring) -> None:
        """Tell the plugins whether it is the work of an earlier run that goes on."""
        for _, context in wiring.plugins:
            context.resumes = context.resumes or self.resumes

    def admit(self, source: str, record: Record) -> Mark | None:
        """Mark a record; None if it is done."""
        key = record.key if source in self._desk.sources else self._ledgers[source].admit(record.key)
        if key is None or ((ended := self._ended.get(source)) is not None and ended.has_settled(key)):
            return None
        mark = self._marked(source, key, record.id)
        self._desk.link.send(Taken(source, key, record.id))
        if self._is_careful:
            self._desk.link.flush()
        return mark

    def _marked(self, source: str, key: bytes, id: str) -> Mark:
        again: Again | None = self._again.pop((source, key), None)
        mark = Mark(source, key, id, None if again is None else Counter(map(tuple, again.written)))  # type: ignore[arg-type]
        if again is not None and again.deaths > self._max_deaths:
            mark.error = RedeliveredTooOften(again.deaths)
        elif again is not None and again.deaths and again.deaths == self._max_deaths:
            mark.is_suspect = True  # its last try brings down nothing but itself
        return mark

    def note_settled(self, ticket: Ticket, outcome: Outcome) -> None:
        """Tell the parent how a record ended."""
        source, key = ticket.mark.origin
        error = ticket.error if source in self._desk.sources else None
        fault = None if error is None else pack_error(error)
        self._desk.link.send(Settled(source, key, outcome.value, ticket.is_done(outcome), fault))

    def once(self, node: NodeRunner, inlet: Any, call: Call) -> Call:
        """Wrap how a sink is called from an inlet: it does not take again what the parent says that it has."""
        edges = [channel.edge.name for channel in node.channels]

        async def once(record: Record) -> Any:
            edge = edges[inlet.last if isinstance(inlet, Inlet) else 0]
            mark: Mark | None = record.ticket.mark  # type: ignore[union-attr]
            if mark is not None and mark.had is not None and mark.take_written(edge, mark.rest(record)):
                return None
            EDGE.set(edge)
            return await call(record)

        return once

    async def begin(self) -> None:
        """Wait until everything is open everywhere."""
        await self._desk.begin()

    async def run(self) -> None:
        """Nothing: the parent commits."""

    async def commit(self) -> None:
        """Nothing: the parent commits."""

    async def close(self) -> None:
        """Let go of what was read; twice is fine."""
        for ledger in (*self._ledgers.values(), *self._ended.values()):
            ledger.close()

    def as_dict(self) -> dict[str, Any]:
        """Give the numbers as JSON-like values."""
        skipped = sum(ledger.skipped for ledger in self._ledgers.values())
        return {"path": str(self.path), "resumed": self.resumes, "skipped": skipped}
