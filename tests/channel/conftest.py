"""A channel on a clock that the test moves, with a list of what it lost."""

from __future__ import annotations

from typing import Any

import pytest

from dagflow.channel.channel import Channel
from dagflow.channel.doorbell import Doorbell
from dagflow.context import ChannelLinks
from dagflow.graph.plan import EdgePlan
from dagflow.record import Outcome, Record


class Rig:
    """Builds channels and records, and remembers what was lost."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lost: list[tuple[str, Outcome, str]] = []
        self.on_lost = lambda: None

    def channel(self, **edge: Any) -> Channel:
        """Build a channel of an edge `a -> b` with these settings."""
        links = ChannelLinks(self._on_lost, lambda: self.now, Doorbell())
        return Channel(EdgePlan("a", "b", **edge), links)

    def record(self, id: str = "r", **attributes: Any) -> Record:
        """Build a record with a ticket-like marker of its own."""
        record = Record({"input": id}, id, **attributes)
        record.ticket = object()
        return record

    def balances(self, channel: Channel) -> bool:
        """Whether the books of a channel balance."""
        s = channel.statistics()
        return s.offered == s.taken + s.shed + s.expired + s.cancelled + s.buffered

    def _on_lost(self, record: Record, outcome: Outcome, reason: str) -> None:
        self.lost.append((record.id, outcome, reason))
        self.on_lost()


@pytest.fixture
def rig() -> Rig:
    """A fresh rig."""
    return Rig()
