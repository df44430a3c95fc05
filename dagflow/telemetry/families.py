"""Families: what can be read of a run's books at one moment, in the form that all exporters take.

A family is one metric in all its labels. Nothing is counted here: who reads makes families of the books that the
engine keeps anyway, the same that the report is made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram at one moment.

    Attributes:
        bounds: upper bounds, ascending, each included; the last bucket is beyond them.
        counts: of each bucket, one more than there are bounds.
        total: the sum of all values.
    """

    bounds: Sequence[float]
    counts: Sequence[int]
    total: float

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    def quantile(self, share: float) -> float | None:
        """The upper bound of the bucket in which `share` of all values is reached; None without values or beyond."""
        rank, seen = share * self.count, 0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            seen += count
            if seen and seen >= rank:
                return bound
        return None


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a family."""

    labels: Labels
    value: float | Buckets


@dataclass(frozen=True, slots=True)
class Family:
    """One metric.

    Attributes:
        name: as Prometheus has it, without `_total`; that of a convention of OpenTelemetry has dots.
        unit: `seconds`, `bytes` or `{token}`-like for OpenTelemetry; empty for plain counts.
    """

    name: str
    kind: Kind
    help: str
    unit: str
    points: tuple[Point, ...]
