"""RetryBudget: keeps retries a small share of what is asked, so that they do not finish off who struggles.

Each first attempt earns a share of a retry; time earns some as well, so that a slow batch may retry all it
wants. Where the budget is empty, the error of the attempt stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

A_SECOND: Final = 10.0
"""Retries that are allowed each second whatever the share says."""

_SAVED_S: Final = 10.0  # how long they are saved up


class RetryBudget:
    """The retries that one node may still make.

    Args:
        share: of a retry that a first attempt earns.
    """

    def __init__(self, share: float, clock: Callable[[], float]) -> None:
        self._share = share
        self._clock = clock
        self._most = A_SECOND * _SAVED_S
        self._left = self._most
        self._seen_s = clock()
        self.denied = 0

    def earn(self) -> None:
        """Note a first attempt."""
        self._left = min(self._left + self._share, max(self._most, self._left))

    def spend(self) -> bool:
        """Take one retry; give whether there was one."""
        now_s = self._clock()
        self._left = max(self._left, min(self._left + (now_s - self._seen_s) * A_SECOND, self._most))
        self._seen_s = now_s
        if self._left < 1:
            self.denied += 1
            return False
        self._left -= 1
        return True
