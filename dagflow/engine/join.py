"""Join: brings the branches of one record together before a node processes it.

It has the receiving half of a channel. A slot that asks for a record takes branches from the
incoming edges until one record is complete; a free slot takes whatever comes, so that a full
edge never waits for the branch of a record whose other branch stands behind it.

What waits here is bounded by what is on the way here: a record waits only as long as another
branch of it may come, and every place on the way is bounded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from dagflow.channel.inlet import Inlet
from dagflow.engine.gathering import Gathering
from dagflow.errors import DeadlinePassed, EndOfStream, FlowSignal, JoinIncomplete, JoinSplit, JoinTimeout, WouldBlock
from dagflow.record import Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from dagflow.channel.channel import Channel
    from dagflow.channel.doorbell import Doorbell
    from dagflow.engine.place import Place
    from dagflow.errors import RecordError
    from dagflow.graph.plan import NodePlan
    from dagflow.record import Record, Ticket

_MISSING: Final = object()


class Join:
    """The inlet of a node that joins.

    Attributes:
        position: grows along every way through the graph.
        place: where what it lets through goes on from.
        fired, partial: records that it let through, and those of them that lacked a branch.
        incomplete, timed_out: records that it did not let through, or not in time.
        late: branches that came when their record had gone on; they are dropped.
        on_expired: told of each branch whose deadline passes here.
        on_unfinished: ends a branch that a forced end finds here.
    """

    on_expired: Callable[[], None]
    on_unfinished: Callable[[Record], None]

    def __init__(
        self,
        node: NodePlan,
        channels: Sequence[Channel],
        place: Place,
        bell: Doorbell,
        clock: Callable[[], float],
        position: int,
    ) -> None:
        assert node.join is not None
        self.place = place
        self.position = position
        self._plan = node.join
        self._to_port = node.on_error == "port"
        self._edges = [channel.edge.name for channel in channels]
        self._all_seen = (1 << len(channels)) - 1
        self._takes_first = node.join.mode == "any"
        self._timer: asyncio.TimerHandle | None = None
        self._inlet = Inlet(channels)
        self._bell = bell
        self._clock = clock
        self._table: dict[Ticket, Gathering] = {}
        self._ready: deque[Record] = deque()
        self._faults: dict[Record, RecordError] = {}
        self.fired = self.partial = self.incomplete = self.timed_out = self.late = 0

    @property
    def depth(self) -> int:
        """How many records may be taken: what is let through, and branches that were not looked at."""
        return len(self._ready) + self._inlet.depth

    @property
    def is_ended(self) -> bool:
        """Whether nothing waits here and nothing will come."""
        return not self._ready and not self._table and self._inlet.is_ended

    @property
    def waiting(self) -> int:
        """How many branches are here and not let through."""
        return len(self._ready) + sum(len(gathering.records) for gathering in self._table.values())

    def receive_nowait(self) -> Record:
        """Hand out the next record of which no more branches are to come.

        Raises:
            WouldBlock: there is none now.
            EndOfStream: there is none, and none will come.
        """
        while True:
            while not self._ready:
                self._take()
            record = self._ready.popleft()
            if record.deadline is None or record in self._faults or self._clock() < record.deadline:
                return record
            self._expire(record)  # it was complete in time, but no slot was free

    def checking(self, call: Callable[[Record], Awaitable[Any]]) -> Callable[[Record], Awaitable[Any]]:
        """Make a call that fails for a record that was not joined as the file demands."""
        faults = self._faults

        def checked(record: Record) -> Awaitable[Any]:
            if faults and record in faults:
                raise faults.pop(record)
            return call(record)

        return checked

    def expect(self, ticket: Ticket, count: int) -> None:
        """Learn that so many branches more may come, or fewer."""
        gathering = ticket.gatherings[self]
        gathering.coming += count
        if not gathering.coming and not gathering.done:
            self._resolve(ticket, gathering)

    def cancel(self, ticket: Ticket) -> None:
        """End what waits here of a ticket that was cancelled."""
        gathering = self._table.get(ticket)
        if gathering is not None:
            self._resolve(ticket, gathering)
        for record in [record for record in self._ready if record.ticket is ticket]:
            self._ready.remove(record)
            self._faults.pop(record, None)
            self.place.end(record, Outcome.CANCELLED)

    def abandon(self) -> None:
        """End all that waits here; a forced end has come."""
        for ticket, gathering in list(self._table.items()):
            for record in self._close(ticket, gathering):
                self.on_unfinished(record)
        while self._ready:
            self.on_unfinished(self._ready.popleft())
        self._faults.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _take(self) -> None:
        """Take one branch from the edges; raises as `receive_nowait`."""
        try:
            record = self._inlet.receive_nowait()
        except FlowSignal as signal:
            if self._ready:
                return  # an edge found that a branch had waited too long, and that was the last to come
            if isinstance(signal, EndOfStream) and self._table:
                raise WouldBlock from None  # a lost branch is being kept; then its join is told
            raise
        self._arrive(record, self._inlet.last)

    def _arrive(self, record: Record, index: int) -> None:
        ticket = record.ticket
        gathering = self._gathering_of(ticket)
        again = gathering.seen >> index & 1
        gathering.seen |= 1 << index
        if again:
            self._let_through(record, JoinSplit(self._edges[index]))
        elif gathering.done:
            self.late += 1
            self.place.release(ticket)
        else:
            self._keep(record, index, gathering)
        gathering.coming -= 1
        if not gathering.done and (self._takes_first or not gathering.coming or gathering.seen == self._all_seen):
            self._resolve(ticket, gathering)

    def _gathering_of(self, ticket: Ticket) -> Gathering:
        if ticket.gatherings is None:  # its only branch came without an event that concerns a join
            ticket.gatherings = {join: Gathering() for join in (self, *self.place.joins)}
        return ticket.gatherings[self]

    def _keep(self, record: Record, index: int, gathering: Gathering) -> None:
        if gathering.arrived is None:
            gathering.arrived = [None] * len(self._edges)
            self._table[record.ticket] = gathering
            self._set_due(record, gathering)
        gathering.arrived[index] = record

    def _set_due(self, record: Record, gathering: Gathering) -> None:
        gathering.due = self._clock() + self._plan.timeout_s
        if record.deadline is not None and record.deadline < gathering.due:
            wait_s, loop = record.deadline - self._clock(), asyncio.get_running_loop()
            gathering.timer = loop.call_later(wait_s, self._on_deadline, record.ticket, gathering)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._plan.timeout_s, self._on_timer)

    def _on_timer(self) -> None:
        """Go on with all that is due; one timer serves all, for the first to come is the first to be due."""
        self._timer = None
        while self._table:
            ticket, gathering = next(iter(self._table.items()))
            wait_s = gathering.due - self._clock()
            if wait_s > 0:
                self._timer = asyncio.get_running_loop().call_later(wait_s, self._on_timer)
                return
            self._on_timeout(ticket, gathering)

    def _on_deadline(self, ticket: Ticket, gathering: Gathering) -> None:
        arrived = self._close(ticket, gathering)
        self._hand_on(ticket, gathering)  # the join makes up for nothing: a failure before counts for more
        for record in arrived:
            self._expire(record)

    def _expire(self, record: Record) -> None:
        self.on_expired()
        self.place.end(record, Outcome.EXPIRED, DeadlinePassed())

    def _resolve(self, ticket: Ticket, gathering: Gathering) -> None:
        """Go on with what there is: no branch of the ticket can come any more, or none is needed."""
        arrived = self._close(ticket, gathering)
        if ticket.cancelled or not arrived:
            self._hand_on(ticket, gathering)
            for record in arrived:
                self.place.end(record, Outcome.CANCELLED)
        elif gathering.lost and not self._takes_first and self._plan.on_missing == "fail":
            self._refuse(ticket, gathering, arrived)
        else:
            self.partial += bool(gathering.lost) and not self._takes_first
            self._fire(gathering, arrived)

    def _refuse(self, ticket: Ticket, gathering: Gathering, arrived: list[Record]) -> None:
        """Let a record end as the branch did that it lacks; a failure only where no outcome says so."""
        self.incomplete += 1
        if self._to_port or all(outcome is None for outcome, _ in gathering.lost):
            self._fire(gathering, arrived, JoinIncomplete(self._names(gathering)))
            return
        self._hand_on(ticket, gathering)
        for _ in arrived:
            self.place.release(ticket)

    def _on_timeout(self, ticket: Ticket, gathering: Gathering) -> None:
        arrived = self._close(ticket, gathering)
        self.timed_out += 1
        if self._plan.on_missing == "partial":
            self.partial += 1
            self._fire(gathering, arrived)
        else:
            self._fire(gathering, arrived, JoinTimeout(self._plan.timeout_s, self._names(gathering)))

    def _close(self, ticket: Ticket, gathering: Gathering) -> list[Record]:
        """Take a gathering off the table; gives its records in the order of their edges."""
        gathering.done = True
        if gathering.timer is not None:
            gathering.timer.cancel()
        arrived = gathering.records
        gathering.arrived = None
        self._table.pop(ticket, None)
        if not self._table and self._inlet.is_ended:
            self._bell.ring_all()  # the slots may end
        return arrived

    def _fire(self, gathering: Gathering, arrived: list[Record], fault: RecordError | None = None) -> None:
        first, *others = arrived
        for other in others:
            _overlay(first, other, gathering.base or {})
            self.place.release(first.ticket)
        self.fired += fault is None
        self._let_through(first, fault)

    def _let_through(self, record: Record, fault: RecordError | None) -> None:
        if fault is not None:
            self._faults[record] = fault
        self._ready.append(record)
        self._bell.ring()

    def _hand_on(self, ticket: Ticket, gathering: Gathering) -> None:
        for outcome, error in gathering.lost:
            self.place.hand_on(ticket, outcome, error)

    def _names(self, gathering: Gathering) -> list[str]:
        return [name for index, name in enumerate(self._edges) if gathering.seen >> index & 1]


def _overlay(first: Record, other: Record, base: Mapping[str, Any]) -> None:
    """Put onto one branch what another one has written since they parted."""
    for name, value in other.items():
        if name not in first or value is not base.get(name, _MISSING):
            first[name] = value
