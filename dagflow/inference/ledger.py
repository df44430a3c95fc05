"""Ledger: what all programs together have leased of one allowance. It stands in a store that all see.

A program leases a block: so much may be taken until the lease ends. From then on what was leased counts for as long as
the window of the limit is, since all of it may have been taken in the last moment; what was not taken is given back.
So in any stretch of that length no more is taken than the limit, whatever becomes of who has leased.

Leases end at whole steps of the store's clock, so that a ledger holds a few numbers, however many programs there are.
A step is a 64th of the window, and a lease lasts one to two of them: that much of a limit is lost, 3 % at most. It is
more of windows of less than 8 s, since no step is shorter than an eighth of a second.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import msgspec

_STEPS: Final = 64
_SHORTEST_S: Final = 0.125
_LONGEST_S: Final = 5.0


class Moment(NamedTuple):
    """What is known of the store's clock: it shows something between the two, in seconds."""

    earliest_s: float
    latest_s: float


class Lease(NamedTuple):
    """So much, until the end of a step."""

    amount: int
    end: int


class Terms:
    """How one allowance is leased.

    Attributes:
        limit: the most within any `length_s` seconds.
        step_s: how long a step is.
    """

    __slots__ = ("length_s", "limit", "step_s")

    def __init__(self, limit: int, length_s: float) -> None:
        self.limit = limit
        self.length_s = length_s
        self.step_s = min(max(length_s / _STEPS, _SHORTEST_S), _LONGEST_S)

    def end_at(self, now: Moment) -> int:
        """Give the step at which what is leased now ends."""
        return math.floor(now.earliest_s / self.step_s) + 2


class Ledger(msgspec.Struct, frozen=True, array_like=True):
    """What counts, by the step at which its lease ends; in the order of the steps."""

    leased: tuple[tuple[int, int], ...] = ()

    @property
    def total(self) -> int:
        """How much counts."""
        return sum(amount for _, amount in self.leased)

    def at(self, terms: Terms, now: Moment) -> Ledger:
        """Give what still counts."""
        return Ledger(
            tuple(one for one in self.leased if one[0] * terms.step_s + terms.length_s > now.earliest_s and one[1])
        )

    def lease(self, terms: Terms, now: Moment, wanted: int) -> tuple[Ledger, Lease]:
        """Lease what is wanted, or what there is of it, which may be nothing."""
        end, granted = terms.end_at(now), max(min(wanted, terms.limit - self.total), 0)
        return self.add(end, granted), Lease(granted, end)

    def add(self, end: int, amount: int) -> Ledger:
        """Add to what counts, or take from it where the amount is negative; what counts no more stays so."""
        found = dict(self.leased)
        if not amount or (amount < 0 and end not in found):
            return self
        found[end] = max(found.get(end, 0) + amount, 0)
        return Ledger(tuple(sorted(found.items())))

    def wait_s(self, terms: Terms, now: Moment) -> float:
        """Say how long it takes until something is free that counts now, in seconds."""
        first = min((end for end, _ in self.leased), default=None)
        return 0.0 if first is None else max(first * terms.step_s + terms.length_s - now.earliest_s, 0.0)


def read_ledger(data: bytes | None) -> Ledger:
    """Read what stands in the store; nothing there is an empty ledger.

    Raises:
        ValueError: it is no ledger.
    """
    return Ledger() if not data else msgspec.msgpack.decode(data, type=Ledger)


def write_ledger(ledger: Ledger) -> bytes:
    """Give what is to stand in the store."""
    return msgspec.msgpack.encode(ledger)
