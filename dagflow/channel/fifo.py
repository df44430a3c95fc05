"""Fifo: the order `fifo`: first in, first out."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagflow.record import Record


class Fifo(deque["Record"]):
    """A deque; its own methods stay on the hot path, without a frame of Python between."""

    __slots__ = ()

    push = deque.append
    pop = deque.popleft  # type: ignore[assignment]

    def oldest(self) -> Record:
        """The record that has been here longest."""
        return self[0]

    def lowest(self) -> Record:
        """The record of lowest priority; of several, the one that came last."""
        return min(reversed(self), key=lambda record: record.priority)
