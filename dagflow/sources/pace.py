"""Pace: when the next of many regular things is due.

The generic cell rate algorithm (a token bucket that needs no timer): each thing is due one
interval after the one before. Time that was not used is kept for at most `burst` things, so
that a slow reader or a coarse timer does not lower the rate, and a long pause floods nobody.
"""

from __future__ import annotations


class Pace:
    """Spreads things over time at `rate` a second; the first `burst` are due at once."""

    def __init__(self, rate: float, burst: int, now_s: float) -> None:
        self._interval_s = 1 / rate
        self._slack_s = (burst - 1) / rate
        self._due_s = now_s - self._slack_s

    def next_wait_s(self, now_s: float) -> float:
        """Take the next thing's turn; return how long it has to wait, 0 or less if it is due."""
        due_s = max(self._due_s, now_s - self._slack_s)
        self._due_s = due_s + self._interval_s
        return due_s - now_s
