"""SharedSum: a sum of money that several programs may spend together, of which this one has leased a part.

What a call may cost at most must be in hand before it is made. What a program had leased that died counts as spent. A
sum with a time begins anew at whole multiples of that, by the store's clock.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagflow.inference.ledger import Moment

_BLOCK: Final = 1 / 64  # of the sum, beyond what is wanted at once
_IDLE_S: Final = 5.0  # after which what is in hand is given back
_AGAIN_S: Final = 0.5
_LEAST: Final = 1e-9


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What stands in the store: how much was spent in a period, and how much is in hands that may spend it."""

    period: int = 0
    spent: float = 0.0
    leased: float = 0.0


class SharedSum:
    """The part of one sum that this program has.

    Args:
        name: under which the entry stands in the store.
        most: what all may spend; None for any sum, which is only counted.
        per_s: after which time it begins anew; None for never.
        on_wanted: called when the store is to be looked at.
        on_room: to be called when something has come.

    Attributes:
        spent: what all have spent, as last heard, and what was spent here since.
        period: of which it tells.
    """

    def __init__(
        self,
        name: str,
        most: float | None,
        per_s: float | None,
        on_wanted: Callable[[SharedSum], None],
        on_room: Callable[[], None],
    ) -> None:
        self.name = name
        self.on_room = on_room
        self.period, self.spent = 0, 0.0
        self._most, self._per_s = most, per_s
        self._on_wanted = on_wanted
        self._in_hand = self._held = self._wanted = 0.0
        self._consumed = self._unsaid = 0.0  # of what was leased; spent, and not told yet
        self._told = (0.0, 0.0)
        self._next = Entry()
        self._granted = 0.0
        self._used_s = -math.inf
        self._asked = 0.0
        self._free, self._others = math.inf, 0.0  # as last heard

    @property
    def is_spent(self) -> bool:
        """Whether what was asked for last cannot be had any more, in this period."""
        return not self._held and self._others < _LEAST and self._free + self._in_hand < self._asked

    def has(self, cost: float, now_s: float) -> bool:
        """Whether so much may be spent now; else it is asked for."""
        cost = self._asked = max(cost, _LEAST)
        if self._most is None or self._in_hand - self._held >= cost:
            return True
        self._wanted = max(self._wanted, cost + self._held - self._in_hand)
        self._on_wanted(self)
        return False

    def hold(self, cost: float, now_s: float) -> None:
        """Reserve what is about to be spent."""
        self._held += cost
        self._used_s = now_s

    def spend(self, held: float, cost: float, now_s: float) -> None:
        """Spend something, of which so much was held."""
        self._held = max(self._held - held, 0.0)
        if self._held < _LEAST:
            self._held = 0.0  # whatever rounding has left
        from_hand = min(cost, self._in_hand)
        self._in_hand -= from_hand
        self._consumed += from_hand
        self._unsaid += cost
        self.spent += cost
        self._used_s = now_s

    def tends(self, now_s: float) -> bool:
        """Whether the store is to be told of something; what was not used for a while is given back by that."""
        if self._in_hand and not self._held and now_s - self._used_s > _IDLE_S:
            self._put_back()
        return bool(self._consumed or self._unsaid)

    def is_unused(self, now_s: float) -> bool:
        """Whether it may be looked after no more: never, as what others spend is told here."""
        return False

    def give_up(self) -> None:
        """Let go of all that is in hand."""
        self._wanted = 0.0
        self._put_back()

    def change(self, data: bytes | None, now: Moment) -> bytes | None:
        """Give what is to stand in the store; None if that is as it was.

        Raises:
            ValueError: what stands there is no entry.
        """
        entry = Entry() if not data else msgspec.msgpack.decode(data, type=Entry)
        period = 0 if self._per_s is None else math.floor(now.earliest_s / self._per_s)
        if period > entry.period:
            entry = Entry(period)
        if entry.period != self.period:
            self._begin_anew(entry.period)
        self._told = self._consumed, self._unsaid
        spent, leased = entry.spent + self._unsaid, max(entry.leased - self._consumed, 0.0)
        free = math.inf if self._most is None else self._most - spent - leased
        self._granted = self._grant(free)
        self._free, self._others = free - self._granted, leased - self._in_hand
        self._next = Entry(entry.period, spent, leased + self._granted)
        changes = self._granted or self._consumed or self._unsaid
        return msgspec.msgpack.encode(self._next) if changes else None

    def changed(self) -> float | None:
        """Take it that this stands there now; gives when to look again if more is wanted, in seconds."""
        consumed, unsaid = self._told
        self._consumed, self._unsaid = self._consumed - consumed, self._unsaid - unsaid
        self._in_hand += self._granted
        self.spent = self._next.spent + self._unsaid
        is_met, self._wanted = bool(self._granted or not self._wanted), 0.0  # who still waits says so again
        return None if is_met else _AGAIN_S

    def unknown(self) -> None:
        """Take it that what was given back was, while nothing was leased: so it is safe, whatever stands there."""
        self._consumed -= self._told[0]

    def _grant(self, free: float) -> float:
        if not self._wanted or self._most is None or free < self._wanted:
            return 0.0
        return min(max(self._wanted, self._most * _BLOCK), free)

    def _put_back(self) -> None:
        self._consumed += self._in_hand
        self._in_hand = 0.0

    def _begin_anew(self, period: int) -> None:
        """What is in hand is of an earlier period, and so is what was consumed of it."""
        self.period = period
        self._in_hand = self._consumed = 0.0
