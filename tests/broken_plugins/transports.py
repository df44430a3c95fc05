"""For each rule for transports, one that breaks it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from dagflow import Sink, Source, Transport
from dagflow.channel.channel import Channel
from dagflow.channel.statistics import ChannelStatistics
from dagflow.errors import WouldBlock
from dagflow.record import Outcome, Record
from dagflow.testing import Sample
from dagflow.transports.memory import Memory


def transport(channel: type[Channel]) -> Sample:
    """Give a transport that builds these channels."""

    class Own(Transport):
        """Builds channels of one class."""

        def build_channel(self, edge: Any, links: Any) -> Channel:
            return channel(edge, links)

    return Sample(Own)


class Miscounting(Channel):
    """Does not count what it hands out as taken."""

    def statistics(self) -> ChannelStatistics:
        kept = super().statistics()
        return ChannelStatistics(**{n: getattr(kept, n) for n in kept.__slots__} | {"taken": kept.taken // 2})


class Silent(Channel):
    """Does not always tell of what it loses."""

    def _lose(self, record: Record, outcome: Outcome, reason: str) -> None:
        before, told = self._links, []
        self._links = type(before)(lambda *loss: told.append(loss), before.clock, before.receivers)
        super()._lose(record, outcome, reason)
        self._links = before
        if outcome is not Outcome.EXPIRED:
            before.on_lost(*told[0])


class Boundless(Channel):
    """Takes one more than it should."""

    def _set_limit(self) -> None:
        super()._set_limit()
        self._limit += bool(self._limit)

    def _has_room(self, record: Record) -> bool:
        return len(self._buffer) <= self.edge.capacity


class Backwards(Channel):
    """Hands out the last one first."""

    def __init__(self, edge: Any, links: Any) -> None:
        super().__init__(edge, links)
        self._pop = self._last

    def _last(self) -> Record:
        kept = deque(self._buffer)
        if not kept:
            raise IndexError
        last = kept[-1]
        self._buffer.remove(last)
        return last


class Unending(Channel):
    """Never says that nothing will come."""

    def receive_nowait(self) -> Record:
        try:
            return super().receive_nowait()
        except Exception:
            raise WouldBlock from None


class Dropping(Channel):
    """Says of what is abandoned that it was shed."""

    def abandon(self) -> None:
        while len(self._buffer):
            self._lose(self._pop(), Outcome.SHED, "abandoned")
        super().abandon()


class Uncancelled(Channel):
    """Does not look for a ticket's records."""

    def cancel(self, ticket: Any) -> None:
        pass


class End(Sink):
    """Hands records over to nobody."""

    hands_off = True

    async def write(self, record: Record) -> None:
        """Nothing to do."""


class Begin(Source):
    """Takes nothing over."""

    finite = False
    takes_over = True

    async def records(self) -> AsyncIterator[Record]:
        yield Record()


class Carrying(Transport):
    """Builds the ends of edges."""

    durable = True

    def build_outlet(self, edge: Any) -> Sink:
        return End()

    def build_inlet(self, edge: Any) -> Source:
        return Begin()


class Keeping(Carrying):
    """Builds a start that delivers."""

    def build_outlet(self, edge: Any) -> Sink:
        end = End()
        end.hands_off = False
        return end


SOUND = {"memory": Sample(Memory), "carrying": Sample(Carrying)}

BROKEN = {
    "TRANSPORT-1": transport(Miscounting),
    "TRANSPORT-2": transport(Silent),
    "TRANSPORT-3": transport(Boundless),
    "TRANSPORT-4": transport(Backwards),
    "TRANSPORT-5": transport(Unending),
    "TRANSPORT-6": transport(Dropping),
    "TRANSPORT-7": transport(Uncancelled),
    "TRANSPORT-8": Sample(Keeping),
}
