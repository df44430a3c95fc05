"""Instruments: the numbers that the engine and plugins count, and their reading.

Integers only on the way in; quantiles and seconds are made when somebody reads. One
`Metrics` belongs to one node; the report reads them all.
"""

from __future__ import annotations

from typing import Final

_SUB_BITS: Final = 4  # 16 buckets an octave: a quantile is off by 3 % at most


class Counter:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int = 1) -> None:
        """Add `amount`, which is not negative."""
        self.value += amount


class Histogram:
    """Durations in nanoseconds, in log-linear buckets."""

    __slots__ = ("buckets", "total_ns")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.total_ns = 0

    def observe(self, ns: int) -> None:
        """Count one duration."""
        # The top five bits choose the bucket: their position (the octave) and the four below it.
        shift = ns.bit_length() - _SUB_BITS - 1
        key = (shift << _SUB_BITS) + (ns >> shift) if shift > 0 else ns
        buckets = self.buckets
        buckets[key] = buckets.get(key, 0) + 1
        self.total_ns += ns

    @property
    def count(self) -> int:
        """How many durations were observed."""
        return sum(self.buckets.values())

    def quantile_s(self, share: float) -> float | None:
        """The duration in seconds that `share` of all do not exceed; None without observations.

        Exact to a bucket's width: the true value lies within 3 % of it.
        """
        rank = share * self.count
        seen = 0
        for key in sorted(self.buckets):
            seen += self.buckets[key]
            if seen >= rank:
                return _middle_ns(key) / 1e9
        return None


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


def _middle_ns(key: int) -> float:
    octave, rest = key >> _SUB_BITS, key & ((1 << _SUB_BITS) - 1)
    if octave <= 1:
        return float(key)
    shift = octave - 1
    return ((1 << _SUB_BITS) + rest + 0.5) * (1 << shift)
