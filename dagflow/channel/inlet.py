"""Inlet: what a node takes its records from, over all edges that lead to it.

Takes from the channels in turn, so that a busy edge cannot keep a quiet one waiting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.errors import EndOfStream, WouldBlock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagflow.channel.channel import Channel
    from dagflow.channel.lanes import Lane
    from dagflow.record import Record


class Inlet:
    """Several channels that share one doorbell; has the receiving half of `Channel`.

    Attributes:
        last: the position of the channel that the last record came from.
    """

    __slots__ = ("_channels", "last")

    def __init__(self, channels: Sequence[Channel | Lane]) -> None:
        self._channels = channels
        self.last = -1

    @property
    def depth(self) -> int:
        """How many records are in its channels."""
        return sum(channel.depth for channel in self._channels)

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
        channels, first = self._channels, self.last + 1
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
            self.last = index
            return record
        raise (EndOfStream if ended == len(channels) else WouldBlock)


def build_inlet(channels: Sequence[Channel | Lane]) -> Channel | Lane | Inlet:
    """Give what a slot receives from over these channels; a single one needs no inlet."""
    return channels[0] if len(channels) == 1 else Inlet(channels)
