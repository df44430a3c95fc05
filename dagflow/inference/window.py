"""Window: at most so much within any stretch of a given length, wherever it begins.

What was taken is kept in bins, and a bin is let go only when all of it lies outside; so the bound is
never exceeded, and what is not used is at most one part in `_BINS`.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

_BINS: Final = 64


class Bin:
    """What was taken in one short stretch."""

    __slots__ = ("amount", "ends_s")

    def __init__(self, ends_s: float) -> None:
        self.ends_s = ends_s
        self.amount = 0


class Window:
    """A sliding window over what was taken.

    Args:
        limit: the most within any `length_s` seconds.
    """

    __slots__ = ("_bins", "length_s", "limit", "used")

    def __init__(self, limit: int, length_s: float) -> None:
        self.limit = limit
        self.length_s = length_s
        self.used = 0
        self._bins: deque[Bin] = deque()

    def wait_s(self, amount: int, now_s: float) -> float:
        """Say how long to wait until `amount` may be taken, in seconds; more than the limit counts as the limit."""
        excess = self.used + min(amount, self.limit) - self.limit
        if excess <= 0:
            return 0.0
        self._forget(now_s)
        excess = self.used + min(amount, self.limit) - self.limit
        for bin_ in self._bins if excess > 0 else ():
            excess -= bin_.amount
            if excess <= 0:
                # A timer may come a rounding error early, and would find nothing changed.
                return bin_.ends_s + self.length_s - now_s + 1e-6
        return 0.0

    def take(self, amount: int, now_s: float) -> Bin:
        """Note that `amount` is taken; give where, for a correction."""
        self._forget(now_s)
        if not self._bins or now_s >= self._bins[-1].ends_s:
            step_s = self.length_s / _BINS
            self._bins.append(Bin((math.floor(now_s / step_s) + 1) * step_s))
        bin_ = self._bins[-1]
        bin_.amount += amount
        self.used += amount
        return bin_

    def correct(self, bin_: Bin, amount: int, now_s: float) -> None:
        """Add to what was taken, or take back where `amount` is negative."""
        if now_s < bin_.ends_s + self.length_s:
            self._forget(now_s)
            bin_.amount += amount
            self.used += amount
        elif amount > 0:
            self.take(amount, now_s)

    def used_at(self, now_s: float) -> int:
        """Say how much of the limit is taken."""
        self._forget(now_s)
        return self.used

    def reset_s(self, now_s: float) -> float:
        """Say when all of the limit will be there again if nothing more is taken, in seconds."""
        self._forget(now_s)
        return self._bins[-1].ends_s + self.length_s - now_s if self._bins else 0.0

    def is_unused(self, now_s: float) -> bool:
        """Whether it holds nothing, and so is like a new one."""
        self._forget(now_s)
        return not self._bins

    def _forget(self, now_s: float) -> None:
        while self._bins and self._bins[0].ends_s + self.length_s <= now_s:
            self.used -= self._bins.popleft().amount
