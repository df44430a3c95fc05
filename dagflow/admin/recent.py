"""Recent: quantiles of the last seconds, while the instruments count since the start.

It keeps two older readings of the buckets, taken when somebody asks; whoever asks gets what came since the older one.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from dagflow.telemetry.instruments import quantile_s

EVERY_S: Final = 5.0
"""How long a reading is kept as the newer one, in seconds: what is recent is once to twice as long."""


_NOTHING: Final[Counter[int]] = Counter()


class Recent:
    """The latest durations of some histograms, by name."""

    def __init__(self) -> None:
        nothing: dict[str, Counter[int]] = {}
        self._older = self._newer = (0.0, nothing)

    def read(self, now_s: float, current: dict[str, Counter[int]]) -> dict[str, dict[str, Any]]:
        """Give count, `p50_s` and `p99_s` of each histogram's latest durations; None where there are none.

        Args:
            current: the histograms as they are now.
        """
        if now_s - self._newer[0] >= EVERY_S:
            self._older, self._newer = self._newer, (now_s, current)
        before = self._older[1]
        return {name: _described(buckets - before.get(name, _NOTHING)) for name, buckets in current.items()}


def _described(buckets: Counter[int]) -> dict[str, Any]:
    return {"count": buckets.total(), "p50_s": quantile_s(buckets, 0.50), "p99_s": quantile_s(buckets, 0.99)}
