"""Pace: how fast records settle, how much of the input is done, and how long the rest will take.

Reads snapshots in the shape of the report; keeps a few numbers of each.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Pace:
    """The speed over the last `window_s` seconds, which must hold at least two readings to show any."""

    def __init__(self, now: float, window_s: float) -> None:
        self._window_s = window_s
        self._readings = deque([(now, 0)])

    def read(self, now: float, snapshot: Mapping[str, Any]) -> None:
        """Take a reading of the books."""
        self._readings.append((now, _settled(snapshot)))
        while now - self._readings[1][0] >= self._window_s:
            self._readings.popleft()

    @property
    def per_second(self) -> float:
        """Records settled a second."""
        (began, before), (ended, after) = self._readings[0], self._readings[-1]
        return (after - before) / (ended - began) if ended > began else 0.0

    def left_s(self, snapshot: Mapping[str, Any]) -> float | None:
        """Guess the seconds until the input is done; None where nothing tells."""
        share = share_done(snapshot)
        if not share or not self.per_second:
            return None
        return _settled(snapshot) * (1 - share) / share / self.per_second


def share_done(snapshot: Mapping[str, Any]) -> float | None:
    """The share of the input whose records have settled, 0 to 1; None where a source can't tell.

    Sources count alike: how long one is against another is not known.
    """
    shares = [1.0 if source["ended"] else source["progress"] for source in snapshot["sources"].values()]
    if None in shares:
        return None
    was_read = sum(shares) / len(shares)
    return was_read * _settled(snapshot) / snapshot["accepted"] if snapshot["accepted"] else was_read


def _settled(snapshot: Mapping[str, Any]) -> int:
    return snapshot["accepted"] - snapshot["in_flight"]
