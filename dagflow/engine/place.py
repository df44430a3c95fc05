"""Place: where a branch is, and which joins it can still reach from there.

A join waits for the branches of a record for as long as one of them may come. So whoever moves,
splits or ends a branch does it through the place where the branch is, and each join behind that
place learns whether to wait on. Where no join lies behind, a place adds nothing.

What was lost on its way to a join (shed, expired, failed, cancelled) is that join's affair: it
goes on without it, or hands the outcome on to the next join, or at last to the ticket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dagflow.engine.gathering import Gathering
from dagflow.live_values import abandon_live
from dagflow.record import GOOD

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dagflow.engine.join import Join
    from dagflow.errors import RecordError
    from dagflow.record import Outcome, Record, Ticket


class Place:
    """A node or an edge, as the joins behind it see it.

    Attributes:
        joins: those that a branch may still come to, in an order in which each leads forward.
        nearest: those of them that it may come to first.
    """

    __slots__ = ("joins", "nearest")

    def __init__(self, joins: Sequence[Join] = (), nearest: Sequence[Join] = ()) -> None:
        self.joins = tuple(joins)
        self.nearest = tuple(nearest)

    def end(self, record: Record, outcome: Outcome, error: RecordError | None = None) -> None:
        """End a branch whose record nobody will read on: a live completion in it must not wait for a reader."""
        abandon_live(record.values())
        ticket = record.ticket
        if not self.joins or ticket.gatherings is None:  # no join behind has heard of the record
            ticket.end(outcome, error)
            return
        if outcome in GOOD:
            ticket.contribute(outcome, error)
        else:
            self.hand_on(ticket, outcome, error)
        self.release(ticket)

    def release(self, ticket: Ticket) -> None:
        """End a branch that contributes no outcome, since others carry on for it."""
        if ticket.gatherings is not None:
            for join in self.joins:  # in order: what one hands on has come before the next is asked
                join.expect(ticket, -1)
        ticket.release()

    def fork(self, ticket: Ticket, count: int) -> None:
        """Add branches that start here."""
        ticket.fork(count)
        self._expect(ticket, count)

    def split(self, ticket: Ticket, count: int) -> None:
        """Add branches that start here, for further records that a stage made of one."""
        ticket.split(count)
        self._expect(ticket, count)

    def move(self, record: Record, onward: Sequence[Place], lost: bool) -> None:
        """Let a branch go on to one or several places; `lost` if it goes there because it failed."""
        ticket = record.ticket
        if not self.joins or (len(onward) == 1 and onward[0].joins == self.joins):
            return
        gatherings = self.gatherings(ticket)
        for join in self.joins:
            ahead = sum([join in place.joins for place in onward])
            gathering = gatherings[join]
            if ahead > 1 and gathering.base is None:
                gathering.base = dict(record)
            if not ahead and lost and join in self.nearest:
                gathering.lose(None, None)
            join.expect(ticket, ahead - 1)

    def hand_on(self, ticket: Ticket, outcome: Outcome | None, error: RecordError | None) -> None:
        """Tell a lost branch's outcome to the joins that it would have come to, or else to the ticket.

        An outcome of None is that of a branch that an error port has taken.
        """
        for join in self.nearest:
            ticket.gatherings[join].lose(outcome, error)
        if not self.nearest and outcome is not None:
            ticket.contribute(outcome, error)

    def gatherings(self, ticket: Ticket) -> dict[Join, Gathering]:
        """Give what each join has of a ticket. Before it is first asked for, one branch may come to those behind."""
        if ticket.gatherings is None:
            ticket.gatherings = {join: Gathering() for join in self.joins}
        return ticket.gatherings

    def _expect(self, ticket: Ticket, count: int) -> None:
        if self.joins and count:
            self.gatherings(ticket)
            for join in self.joins:
                join.expect(ticket, count)


NOWHERE: Final = Place()
"""A place behind which there is no join."""


def place_before(places: Iterable[Place]) -> Place:
    """Give the place from which a branch goes on to one or several of these."""
    found = list(places)
    joins = {join: None for place in found for join in place.joins}
    nearest = {join: None for place in found for join in place.nearest}
    return Place(sorted(joins, key=lambda join: join.position), tuple(nearest)) if joins else NOWHERE
