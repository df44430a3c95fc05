"""Reentry: dead letters go back into the pipeline that is running, beside what its sources bring.

A letter goes on over an edge that leads to its node, past the edge's condition, or from the start over what its source
has. Its record counts as any other: it has a ticket, waits at the gate and at full edges, and has an outcome. One that
finds its edge closed, since the run is at its end, ends as cancelled, and its letter stays.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from time import time
from typing import TYPE_CHECKING, Any

from dagflow.engine.resending import REPLAY, ReplaySource
from dagflow.errors import DagflowError, EndOfStream, describe
from dagflow.record import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from dagflow.channel.channel import Channel
    from dagflow.engine.letters import Letters
    from dagflow.engine.outlet import Outlet
    from dagflow.engine.place import Place
    from dagflow.engine.resending import Entry, Read
    from dagflow.engine.source_runner import SourceRunner
    from dagflow.graph.plan import EdgePlan
    from dagflow.record import Record


class AlreadyReplaying(DagflowError):
    """Letters are being sent in; others have to wait, so that none is sent in twice."""

    code = "replaying"

    def __init__(self) -> None:
        super().__init__("a replay is under way; wait until it has ended")


@dataclass
class Replay:
    """One sending in of letters.

    Attributes:
        number: counts them from 1.
        total: how many records are to be sent in.
        handed_in: how many were; gone: how many had been removed by then.
        outcomes: of those that have ended.
        error: why it ended before all were sent in; None if it did not.
        is_reading: whether more are to be handed in.
    """

    number: int
    total: int
    handed_in: int = 0
    gone: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    error: str | None = None
    is_reading: bool = True
    began: float = field(default_factory=time)

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is in flight any more, and nothing will be."""
        return not self.is_reading and self.outcomes.total() == self.handed_in

    def as_dict(self) -> dict[str, Any]:
        """Give its numbers as JSON-like values."""
        names = ("number", "total", "handed_in", "gone", "error", "began")
        state = "over" if self.is_over else "running"
        return {"state": state, **{name: getattr(self, name) for name in names}, "outcomes": dict(self.outcomes)}


class Reentry(ReplaySource):
    """The source that hands letters in while others hand in what is new. It has one replay at a time."""

    finite = False

    def __init__(self, letters: Letters) -> None:
        super().__init__((), lambda ids: [], letters, None)
        self.replay: Replay | None = None

    def prepare(self, entries: Sequence[Entry], read: Read) -> Replay:
        """Take what is to be handed in next, and what gives letters by their numbers.

        Raises:
            AlreadyReplaying: the last replay is not over.
        """
        if self.replay is not None and not self.replay.is_over:
            raise AlreadyReplaying
        self._entries, self._read = entries, read
        self.replay = Replay(self.replay.number + 1 if self.replay else 1, len(entries))
        return self.replay

    async def run(self, runner: SourceRunner) -> None:
        """Hand in what was prepared."""
        try:
            await runner.run()
        finally:
            self.replay.is_reading = False
            if runner.error is not None:
                self.replay.error, runner.error = describe(runner.error), None

    async def records(self) -> AsyncIterator[Record]:
        """Give the records of the letters that are still there; their port is the way that they take."""
        async for entry, record in self.pairs():
            if record is None:
                self.replay.gone += 1
                continue
            self.replay.handed_in += 1
            record.port = (entry.source, record.port)
            yield record

    def settle(self, record: Record, outcome: Outcome) -> None:
        """Note how a record ended, and remove its letters if it has come through."""
        self.replay.outcomes[outcome.value] += 1
        super().settle(record, outcome)


class Entrance:
    """The way to a node, for records that go on there."""

    def __init__(self, channel: Channel, place: Place) -> None:
        self._channel = channel
        self._place = place

    async def send(self, record: Record, _origin: Record | None = None) -> None:
        """Send a record in, waiting for room."""
        try:
            await self._channel.send(record)
        except EndOfStream:
            self._place.end(record, Outcome.CANCELLED)


class Beginning:
    """The way out of a source, for records that start there once more."""

    def __init__(self, outlet: Outlet, place: Place) -> None:
        self._outlet = outlet
        self._place = place

    async def send(self, record: Record, _origin: Record | None = None) -> None:
        """Send a record off, waiting for room."""
        try:
            await self._outlet.send(record)
        except EndOfStream:
            self._place.end(record, Outcome.CANCELLED)


def ways_in(
    edges_to: Mapping[str, Sequence[EdgePlan]],
    channels: Mapping[str, Channel],
    places: Mapping[str, Place],
    sources: Mapping[str, SourceRunner],
) -> dict[Any, Any]:
    """Give the outlets of a reentry: by `(REPLAY, node)`, and by `(source, port)` from the start."""
    ways: dict[Any, Any] = {}
    for node, edges in edges_to.items():
        if edges:
            edge = min(edges, key=_reluctance)
            ways[REPLAY, node] = Entrance(channels[edge.name], places[edge.name])
    for name, source in sources.items():
        ways |= {(name, port): Beginning(outlet, source.place) for port, outlet in source.outlets.items()}
    return ways


def _reluctance(edge: EdgePlan) -> tuple[bool, bool]:
    """Order edges by how sure a record gets through: one that waits is better than one that sheds."""
    return edge.best_effort, edge.drops
