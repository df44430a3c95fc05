"""Book: every accepted ticket and how it ended, and the gate at which sources wait.

At every moment: accepted + taken over + forked == settled, by outcome, + handed off + given back + in flight.

What goes to another machine is counted in messages: `handed_off` here is what is `taken_over` there. A record that is
handed off beside other ways that it goes is more than one thing from then on; `forked` counts those that it became
beside itself.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from dagflow.channel.doorbell import Doorbell
from dagflow.record import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dagflow.record import Ticket

ENDS: Final = tuple(outcome for outcome in Outcome if outcome is not Outcome.HANDED_OFF)
"""The outcomes that a record has when it goes nowhere else."""


class Book:
    """The tickets of one run.

    Attributes:
        accepted: tickets ever entered; taken_over: those that an earlier run or another machine had accepted.
        handed_off: records that a transport took; given_back: those that it gets back, since work on them was cut off.
        forked: further records that came to be as a record was handed off beside other ways that it goes.
        live: tickets that are in flight.
        sources: how many sources share the gate.
        extra: places at the gate that are taken beside those of the live tickets: by further records
            that splitting stages made, and by records of which a source is still being told.
        outcomes: settled tickets by outcome; those that were handed off are none of them.
    """

    __slots__ = (
        "_gate",
        "_is_closed",
        "accepted",
        "extra",
        "forked",
        "given_back",
        "handed_off",
        "live",
        "max_in_flight",
        "outcomes",
        "sources",
        "taken_over",
    )

    def __init__(self, max_in_flight: int) -> None:
        self.max_in_flight = max_in_flight
        self.accepted = self.taken_over = self.handed_off = self.given_back = self.forked = 0
        self.extra = 0
        self.sources = 0
        self.live: set[Ticket] = set()
        self.outcomes = dict.fromkeys(ENDS, 0)
        self._gate = Doorbell()
        self._is_closed = False

    def enter(self, ticket: Ticket) -> None:
        """Count a ticket as accepted."""
        self.accepted += 1
        self.live.add(ticket)

    def take_over(self, ticket: Ticket) -> None:
        """Count a ticket that an earlier run had accepted."""
        self.taken_over += 1
        self.live.add(ticket)

    def split(self, count: int) -> None:
        """Count further records as in flight until their ticket settles."""
        self.extra += count

    def settle(self, ticket: Ticket, outcome: Outcome) -> None:
        """Count how a ticket ended, and let a waiting source go on."""
        if outcome is Outcome.HANDED_OFF:
            self.forked -= 1  # it is one of those that it became
        else:
            self.outcomes[outcome] += 1
        self._leave(ticket)

    def give_back(self, ticket: Ticket) -> None:
        """Count a ticket of which somebody will be told anew, and let a waiting source go on."""
        self.given_back += 1
        self._leave(ticket)

    def fork_off(self, count: int) -> None:
        """Count records that a transport took beside those that are tickets here."""
        self.handed_off += count
        self.forked += count

    def _leave(self, ticket: Ticket) -> None:
        self.live.remove(ticket)
        if ticket.handed_off:
            self.fork_off(ticket.handed_off)
        if ticket.extra:
            self.extra -= ticket.extra
        if self._is_closed:
            self._gate.ring_all()
        elif self._gate.waiting and self.has_room:
            self._gate.ring()

    def hold_place(self) -> None:
        """Keep a place at the gate for a settled ticket, of which its source takes its time to be told."""
        self.extra += 1

    def free_place(self) -> None:
        """Give that place back."""
        self.extra -= 1
        if self._gate.waiting and self.has_room:
            self._gate.ring()

    @property
    def room(self) -> int:
        """How many records may be handed in now."""
        return 0 if self._is_closed else self.max_in_flight - len(self.live) - self.extra

    @property
    def has_room(self) -> bool:
        """Whether a source may hand in another record."""
        return self.room > 0

    @asynccontextmanager
    async def nothing_else(self) -> AsyncIterator[None]:
        """Let nobody hand in anything but whoever is in the block; it begins and ends with nothing in flight."""
        self._is_closed = True
        try:
            await self._wait_for_all()
            yield
            await self._wait_for_all()
        finally:
            self._is_closed = False
            self._gate.ring_all()

    async def _wait_for_all(self) -> None:
        while self.live:
            await self._gate.wait()

    async def wait_for_room(self) -> None:
        """Wait until a source may hand in another record."""
        while not self.has_room:
            await self._gate.wait()
        # One ring per settled ticket, but a split ticket frees several places: pass it on.
        if self._gate.waiting:
            self._gate.ring()
