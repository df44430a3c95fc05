"""Inlet: what a node takes its records from, over all edges that lead to it.

Takes from the channels in turn, so that a busy edge cannot keep a quiet one waiting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.errors import EndOfStream, WouldBlock

if TYPE_CHECKING:
    from dagflow.channel.channel import Channel
    from dagflow.channel.doorbell import Doorbell
    from dagflow.record import Record


class Inlet:
    """Several channels that share one doorbell; has the receiving half of `Channel`."""

    __slots__ = ("_channels", "_next", "_receivers")

    def __init__(self, channels: list[Channel], receivers: Doorbell) -> None:
        self._channels = channels
        self._receivers = receivers
        self._next = 0

    @property
    def is_ended(self) -> bool:
        """Whether nothing is in any channel and nothing will come."""
        return all(channel.is_ended for channel in self._channels)

    def receive_nowait(self) -> Record:
        """Hand out the next record of the channel whose turn it is.

        Raises:
            WouldBlock: no channel has one now.
            EndOfStream: all channels are closed and empty.
        """
        channels, first = self._channels, self._next
        ended = 0
        for turn in range(first, first + len(channels)):
            index = turn % len(channels)
            try:
                record = channels[index].receive_nowait()
            except WouldBlock:
                continue
            except EndOfStream:
                ended += 1
                continue
            self._next = index + 1
            return record
        raise (EndOfStream if ended == len(channels) else WouldBlock)

    async def receive(self) -> Record:
        """Hand out the next record, waiting for one.

        Raises:
            EndOfStream: none will come.
        """
        while True:
            try:
                return self.receive_nowait()
            except WouldBlock:
                await self._receivers.wait()


def build_inlet(channels: list[Channel], receivers: Doorbell) -> Channel | Inlet:
    """Give what a node with these incoming channels receives from; a single one needs no inlet."""
    return channels[0] if len(channels) == 1 else Inlet(channels, receivers)
