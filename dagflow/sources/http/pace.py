"""Pace: how fast a service works off what it has, and so when somebody who was refused may come again."""

from __future__ import annotations

from collections import deque
from typing import Final

_WINDOW_S: Final = 10
_SHORTEST_S: Final = 1.0
_LONGEST_S: Final = 60.0


class Pace:
    """Counts what was worked off in the last seconds."""

    __slots__ = ("_began_s", "_seconds")

    def __init__(self, now_s: float) -> None:
        self._began_s = now_s
        self._seconds: deque[list[float]] = deque()  # the second, and how many settled in it

    def note(self, now_s: float) -> None:
        """Count one that was worked off."""
        second = float(int(now_s))
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append([second, 0])
            self._forget(now_s)
        self._seconds[-1][1] += 1

    def per_second(self, now_s: float) -> float:
        """Give the mean over the last ten seconds, or since the beginning."""
        self._forget(now_s)
        span_s = min(max(now_s - self._began_s, 1.0), float(_WINDOW_S))
        return sum(count for _, count in self._seconds) / span_s

    def wait_s(self, waiting: int, now_s: float) -> float:
        """Say how long it takes to work off so many, in seconds: at least one, at most a minute."""
        rate = self.per_second(now_s)
        if not rate:
            return _SHORTEST_S if not waiting else _LONGEST_S if now_s - self._began_s > _WINDOW_S else _SHORTEST_S
        return min(max(waiting / rate, _SHORTEST_S), _LONGEST_S)

    def _forget(self, now_s: float) -> None:
        while self._seconds and self._seconds[0][0] < now_s - _WINDOW_S:
            self._seconds.popleft()
