"""Instruments: the numbers that the engine and plugins count, and their reading.

Integers only on the way in; quantiles and seconds are made when somebody reads. One
`Metrics` belongs to one node; the report reads them all.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter as Counter_
from typing import TYPE_CHECKING, Final

from dagflow.telemetry.families import Buckets

if TYPE_CHECKING:
    from collections.abc import Sequence

_FOLD_AT: Final = 256
_SUB_BITS: Final = 4  # 16 buckets an octave: a quantile is off by 3 % at most

OCTAVES_NS: Final = tuple(2**power for power in range(17, 38))
"""The bounds at which exporters count durations: powers of two from 0.13 ms to 137 s, in nanoseconds."""


class Counter:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int = 1) -> None:
        """Add `amount`, which is not negative."""
        self.value += amount


class Histogram:
    """Durations in nanoseconds, in log-linear buckets.

    To observe is to append to `pending`, which costs next to nothing; whoever observes calls
    `fold` now and then, and every reading folds first, so that no reading misses anything.
    """

    __slots__ = ("_buckets", "_total_ns", "pending")

    def __init__(self) -> None:
        self.pending: list[int] = []
        self._buckets: Counter_[int] = Counter_()
        self._total_ns = 0

    def observe(self, ns: int) -> None:
        """Count one duration."""
        self.pending.append(ns)
        if len(self.pending) >= _FOLD_AT:
            self.fold()

    def fold(self) -> None:
        """Take what is pending into the buckets."""
        pending, buckets = self.pending, self._buckets
        self._total_ns += sum(pending)
        # Durations of a busy node cluster: few distinct values are left at a grain of 16 ns.
        for grains, count in Counter_([ns >> 4 for ns in pending]).items():
            buckets[_key_of((grains << 4) + 8)] += count
        pending.clear()

    @property
    def count(self) -> int:
        """How many durations were observed."""
        return self._buckets.total() + len(self.pending)

    @property
    def total_ns(self) -> int:
        """The sum of all durations."""
        return self._total_ns + sum(self.pending)

    def buckets(self) -> Buckets:
        """Count the durations by octaves, in seconds; exact, since each octave begins where a bucket does."""
        self.fold()
        counts = [0] * (len(OCTAVES_NS) + 1)
        edges = [_key_of(bound) for bound in OCTAVES_NS]
        for key, count in self._buckets.items():
            counts[bisect_right(edges, key)] += count
        return Buckets(tuple(bound / 1e9 for bound in OCTAVES_NS), tuple(counts), self._total_ns / 1e9)

    def quantile_s(self, share: float) -> float | None:
        """The duration in seconds that `share` of all do not exceed; None without observations.

        Exact to a bucket's width: the true value lies within 3 % or 8 ns of it.
        """
        self.fold()
        return quantile_s(self._buckets, share)

    def snapshot(self) -> Counter_[int]:
        """How many durations there are of each bucket as of now: what was observed since is a difference of two."""
        self.fold()
        return self._buckets.copy()


class Distribution:
    """Values in buckets with given upper bounds, each included."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def buckets(self) -> Buckets:
        """Read them."""
        return Buckets(self._bounds, tuple(self._counts), self._total)


class Metrics:
    """The instruments of one node, by name; asking twice for a name gives the same instrument."""

    __slots__ = ("counters", "histograms")

    def __init__(self) -> None:
        self.counters: dict[str, Counter] = {}
        self.histograms: dict[str, Histogram] = {}

    def counter(self, name: str) -> Counter:
        """Give the counter of this name."""
        return self.counters.setdefault(name, Counter())

    def histogram(self, name: str) -> Histogram:
        """Give the histogram of this name; observe nanoseconds."""
        return self.histograms.setdefault(name, Histogram())


def quantile_s(buckets: Counter_[int], share: float) -> float | None:
    """The duration in seconds that `share` of those in some buckets do not exceed; None if there are none."""
    rank, seen = share * buckets.total(), 0
    for key in sorted(buckets):
        seen += buckets[key]
        if seen >= rank:
            return _middle_ns(key) / 1e9
    return None


def _key_of(ns: int) -> int:
    """The bucket of a duration: the position of its top bit (the octave) and the four bits below it."""
    shift = ns.bit_length() - _SUB_BITS - 1
    return (shift << _SUB_BITS) + (ns >> shift) if shift > 0 else ns


def _middle_ns(key: int) -> float:
    """The middle of a bucket, in nanoseconds; undoes `_key_of`."""
    octave, rest = key >> _SUB_BITS, key & ((1 << _SUB_BITS) - 1)
    if octave <= 1:
        return float(key)
    return ((1 << _SUB_BITS) + rest + 0.5) * (1 << (octave - 1))
