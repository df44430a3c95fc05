"""SharedWindow: a window over what several programs take, of which this one has leased a part.

It looks like a `Window`. What a call needs beyond what is in hand is asked for, and the call waits meanwhile; whoever
leases (`Leasing`) comes by, looks into the ledger, and says when there is more.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from dagflow.inference.ledger import Ledger, Terms, read_ledger, write_ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagflow.inference.ledger import Lease, Moment

_BLOCKS: Final = 8  # of a limit, at least: others want some, too


class Taken:
    """What one call has taken: so much by each end of a lease, the last one last; None where there was no lease."""

    __slots__ = ("parts",)

    def __init__(self) -> None:
        self.parts: list[tuple[int | None, int]] = []


class SharedWindow:
    """The part of one allowance that this program has.

    Args:
        name: under which the ledger stands in the store.
        limit: the most that all programs take within any `length_s` seconds.
        moment: tells what the store's clock shows at a time of this program's.
        on_wanted: called when more is wanted than is in hand.
        on_room: to be called when something of that has come.

    Attributes:
        used: how much of the limit is taken or in other hands, as last heard.
        wanted: how much somebody waits for.
    """

    def __init__(
        self,
        name: str,
        limit: int,
        length_s: float,
        moment: Callable[[float], Moment],
        on_wanted: Callable[[SharedWindow], None],
        on_room: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.terms = Terms(limit, length_s)
        self.limit, self.length_s = limit, length_s
        self.used = self.wanted = 0
        self._moment = moment
        self._on_wanted = on_wanted
        self.on_room = on_room
        self._in_hand: deque[list[int]] = deque()  # pairs of what is left of a lease, and its end
        self._owed: dict[int, int] = {}  # what the ledger is to count less, by the end of its lease
        self._over = 0  # taken without a lease
        self._pace = 0  # taken since the last lease
        self._told: tuple[dict[int, int], int, int] = {}, 0, 0
        self._looked: tuple[Ledger, Lease]
        self._again_s = 0.0

    @property
    def is_quiet(self) -> bool:
        """Whether the ledger need not be told anything."""
        return not (self._in_hand or self._owed or self._over or self.wanted)

    @property
    def tells(self) -> bool:
        """Whether the ledger is to be told of something that has been."""
        return bool(self._owed or self._over)

    def in_hand(self, now_s: float) -> int:
        """Say how much may be taken; what was not taken of a lease that is over is to be given back."""
        now = self._moment(now_s)
        while self._in_hand and now.latest_s >= self._in_hand[0][1] * self.terms.step_s:
            amount, end = self._in_hand.popleft()
            self._owe(end, amount)
        return sum(amount for amount, _ in self._in_hand)

    def wait_s(self, amount: int, now_s: float) -> float:
        """Say how long to wait until `amount` may be taken: infinity for until a lease comes.

        More than the limit counts as the limit.
        """
        amount = min(amount, self.limit)
        if amount <= self.in_hand(now_s):
            return 0.0
        self.wanted = max(self.wanted, amount)
        self._on_wanted(self)
        return math.inf

    def take(self, amount: int, now_s: float) -> Taken:
        """Note that `amount` is taken; give of what, for a correction."""
        taken = Taken()
        self._take(taken, amount, now_s)
        return taken

    def correct(self, taken: Taken, amount: int, now_s: float) -> None:
        """Add to what was taken, or take back where `amount` is negative."""
        if amount > 0:
            self._take(taken, amount, now_s)
        back = max(-amount, 0)
        while back and taken.parts:
            end, had = taken.parts.pop()
            part = min(back, had)
            back -= part
            if had > part:
                taken.parts.append((end, had - part))
            self._put_back(end, part, now_s)

    def is_unused(self, now_s: float) -> bool:
        """Whether it holds nothing, and so is like a new one."""
        return not self.in_hand(now_s) and self.is_quiet and not self._pace

    def tends(self, now_s: float) -> bool:
        """Let go of leases that are over, and say whether the ledger is to be told of something."""
        self.in_hand(now_s)
        return bool(self._owed or self._over)

    def change(self, data: bytes | None, now: Moment) -> bytes | None:
        """Give what is to stand in the store; None if that is as it was.

        Raises:
            ValueError: what stands there is no ledger.
        """
        tells = self.tells
        ledger, lease = self._looked = self.look(read_ledger(data), now)
        self._again_s = min(ledger.wait_s(self.terms, now), self.terms.step_s)
        return write_ledger(ledger) if lease.amount or tells else None

    def changed(self) -> float | None:
        """Take it that this stands there now; gives when to look again if more is wanted, in seconds."""
        return None if self.lent(*self._looked) else self._again_s

    def unknown(self) -> None:
        """Take it that nobody knows whether this stands there."""
        self.forget_owed()

    def look(self, ledger: Ledger, now: Moment) -> tuple[Ledger, Lease]:
        """Give the ledger with all that it is to be told, and what is leased by that.

        Nothing of it holds before `lent`; what is taken meanwhile is told the next time.
        """
        self._told = dict(self._owed), self._over, self._pace
        ledger = ledger.at(self.terms, now)
        for end, amount in self._owed.items():
            ledger = ledger.add(end, -amount)
        if self._over:
            ledger = ledger.add(self.terms.end_at(now), self._over)
        left = sum(amount for amount, _ in self._in_hand)
        needed = max(self.wanted - left, 0)
        block = max(needed, min(2 * self._pace - left, math.ceil(self.limit / _BLOCKS)))
        free = self.limit - ledger.total
        return ledger.lease(self.terms, now, 0 if free < needed else min(block, free))

    def lent(self, ledger: Ledger, lease: Lease) -> bool:
        """Take what `look` has given, which stands in the store now; gives whether what was wanted is in hand."""
        self.forget_owed()
        _, over, pace = self._told
        self._over, self._pace = max(self._over - over, 0), max(self._pace - pace, 0)
        if lease.amount:
            self._in_hand.append([lease.amount, lease.end])
        left = sum(amount for amount, _ in self._in_hand)
        self.used = ledger.total - left
        is_met = self.wanted <= left
        if is_met:
            self.wanted = 0
        return is_met

    def forget_owed(self) -> None:
        """Take it that what is owed was given back by the last look: that it may have been is reason enough.

        Given back twice, it would be taken from others; kept for good, it is nothing but lost for one window.
        """
        for end, amount in self._told[0].items():
            self._owed[end] -= amount
            if not self._owed[end]:
                del self._owed[end]

    def give_up(self) -> None:
        """Let go of all that is in hand."""
        self.wanted = self._pace = 0
        while self._in_hand:
            amount, end = self._in_hand.popleft()
            self._owe(end, amount)

    def _take(self, taken: Taken, amount: int, now_s: float) -> None:
        left = self.in_hand(now_s)
        self._pace += amount
        while amount and self._in_hand:
            first = self._in_hand[0]
            part = min(amount, first[0])
            first[0] -= part
            amount -= part
            taken.parts.append((first[1], part))
            if not first[0]:
                self._in_hand.popleft()
        if amount:
            self._over += amount
            taken.parts.append((None, amount))
        if left < 2 * self._pace:  # ask ahead: the next one need not wait
            self._on_wanted(self)

    def _put_back(self, end: int | None, amount: int, now_s: float) -> None:
        """Have something again that was not taken after all; what is over by now is let go of when somebody looks."""
        if end is None:
            self._over = max(self._over - amount, 0)
        else:
            insort(self._in_hand, [amount, end], key=itemgetter(1))
            self.in_hand(now_s)

    def _owe(self, end: int, amount: int) -> None:
        if amount:
            self._owed[end] = self._owed.get(end, 0) + amount
