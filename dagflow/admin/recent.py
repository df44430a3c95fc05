"""Recent: quantiles of the last seconds, while the instruments count since the start.

It keeps two older readings of the buckets, taken when somebody asks; whoever asks gets what came since the older one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dagflow.telemetry.instruments import quantile_s

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from dagflow.telemetry.instruments import Histogram

EVERY_S: Final = 5.0
"""How long a reading is kept as the newer one, in seconds: what is recent is once to twice as long."""


class Recent:
    """The latest durations of some histograms, by name."""

    def __init__(self, histograms: Mapping[str, Histogram]) -> None:
        self._histograms = histograms
        self._older = self._newer = (0.0, {name: histogram.snapshot() for name, histogram in histograms.items()})

    def read(self, now_s: float) -> dict[str, dict[str, Any]]:
        """Give count, `p50_s` and `p99_s` of each histogram's latest durations; None where there are none."""
        current = {name: histogram.snapshot() for name, histogram in self._histograms.items()}
        if now_s - self._newer[0] >= EVERY_S:
            self._older, self._newer = self._newer, (now_s, current)
        return {name: _described(buckets - self._older[1][name]) for name, buckets in current.items()}


def _described(buckets: Counter[int]) -> dict[str, Any]:
    return {"count": buckets.total(), "p50_s": quantile_s(buckets, 0.50), "p99_s": quantile_s(buckets, 0.99)}
