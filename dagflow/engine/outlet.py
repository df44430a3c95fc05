"""Outlet: where the records of one port of a node go.

Ownership moves with the call, as with a channel: after `send`, each branch is some channel's,
or has ended.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dagflow.engine.postbox import UNFINISHED
from dagflow.errors import ExpressionError, RecordError, Unmatched, WouldBlock
from dagflow.record import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dagflow.channel.channel import Channel
    from dagflow.engine.place import Place
    from dagflow.engine.postbox import Postbox
    from dagflow.engine.shadow import ShadowBook
    from dagflow.graph.plan import FanOut
    from dagflow.graph.plan import Unmatched as UnmatchedRule
    from dagflow.record import Record


class Branch:
    """One edge that leaves a port: its channel, and the shadow book if it is best-effort."""

    __slots__ = ("_shadow", "_when", "channel", "place", "postbox")

    def __init__(self, channel: Channel, place: Place, postbox: Postbox, shadow: ShadowBook | None) -> None:
        self.channel = channel
        self.place = place
        self.postbox = postbox
        self._shadow = shadow
        self._when = channel.edge.when

    @property
    def is_plain(self) -> bool:
        """Whether it takes every record, and the record itself."""
        return self._shadow is None and self._when is None

    @property
    def is_conditional(self) -> bool:
        """Whether it takes only some records."""
        return self._when is not None

    @property
    def is_shadow(self) -> bool:
        """Whether what leaves here counts in the edge's books only."""
        return self._shadow is not None

    def matches(self, record: Record) -> bool:
        """Whether the edge's condition holds; on a best-effort edge a broken one is its own failure."""
        if self._when is None:
            return True
        try:
            return self._when.holds(record)
        except ExpressionError:
            if self._shadow is None:
                raise
            self._shadow.outcomes[Outcome.FAILED] += 1
            return False

    def holds(self, record: Record) -> bool:
        """Whether the edge's condition holds, as far as it can be told; notes nothing."""
        try:
            return self._when is None or self._when.holds(record)
        except ExpressionError:
            return False

    def copy(self, record: Record) -> Record:
        """Make the record that travels here beside the original."""
        twin = record.copy()
        if self._shadow is not None:
            twin.ticket = self._shadow.open_ticket(twin)
        return twin


class Outlet:
    """The edges of one port, in file order.

    Attributes:
        direct: the only channel, if every record simply goes there; else None.
    """

    __slots__ = ("_branches", "_fan_out", "_on_failed", "_place", "_takes_all", "_takes_failed", "_unmatched", "direct")

    def __init__(
        self,
        place: Place,
        branches: Sequence[Branch],
        takes_failed: bool,
        fan_out: FanOut,
        unmatched: UnmatchedRule,
        on_failed: Callable[[Record, RecordError, Record | None], None],
    ) -> None:
        self._place = place
        self._branches = branches
        self._takes_failed = takes_failed
        self._fan_out = fan_out
        self._unmatched = unmatched
        self._on_failed = on_failed
        self._takes_all = fan_out == "all" and not any(branch.is_conditional for branch in branches)
        plain = len(branches) == 1 and branches[0].is_plain and branches[0].place.joins == place.joins
        self.direct = branches[0].channel if plain else None

    def takes(self, record: Record) -> bool:
        """Whether a regular edge takes the record; one whose condition breaks does not."""
        try:
            return any(branch.matches(record) for branch in self._branches if not branch.is_shadow)
        except ExpressionError:
            return False

    def room(self, record: Record) -> int:
        """How many records like this one would go out now without waiting. Edges that shed never wait."""
        if self.direct is not None:
            return _room_of(self.direct)
        rooms = []
        for branch in self._branches:
            if branch.is_plain or (not branch.is_shadow and branch.holds(record)):
                rooms.append(_room_of(branch.channel))
                if self._fan_out == "first":
                    break
        return min(rooms, default=sys.maxsize)

    async def send(self, record: Record, origin: Record | None = None) -> None:
        """Send the record over each edge whose condition holds, or over the first one.

        `origin` is what the node made it of, if it did.
        """
        if self.direct is not None:
            await self.direct.send(record)
            return
        try:
            chosen = self._branches if self._takes_all else self._choose(record)
        except ExpressionError as error:
            self._on_failed(record, error, origin)
            return
        # All copies are made before the first is sent: a fast receiver may change what it gets.
        heir = next((branch for branch in chosen if not branch.is_shadow), None)
        copies = [(b, record if b is heir else b.copy(record)) for b in chosen]
        if heir is None:
            self._end_unmatched(record, origin)
        else:
            onward = [branch.place for branch in chosen if not branch.is_shadow]
            record.ticket.fork(len(onward) - 1)
            self._place.move(record, onward, self._takes_failed)
        await _send_each(copies)

    def _choose(self, record: Record) -> Sequence[Branch]:
        """Pick the branches in file order; `first` concerns the regular ones, shadows go along."""
        chosen, routed = [], False
        for branch in self._branches:
            if routed and not branch.is_shadow:
                continue
            if branch.matches(record):
                chosen.append(branch)
                routed = routed or (self._fan_out == "first" and not branch.is_shadow)
        return chosen

    def _end_unmatched(self, record: Record, origin: Record | None) -> None:
        if self._unmatched == "filter":
            self._place.end(record, Outcome.FILTERED)
        else:
            self._on_failed(record, Unmatched(), origin)


def _room_of(channel: Channel) -> int:
    return sys.maxsize if channel.edge.drops else channel.room


async def _send_each(pairs: list[tuple[Branch, Record]]) -> None:
    """Send each record on its way; if interrupted, those not yet handed over are cancelled."""
    sent = 0
    try:
        for branch, record in pairs:
            sent += 1
            try:
                branch.channel.send_nowait(record)
            except WouldBlock:
                await branch.channel.send(record)
    finally:
        for branch, record in pairs[sent:]:
            branch.postbox.post(record, Outcome.CANCELLED, reason=UNFINISHED)
