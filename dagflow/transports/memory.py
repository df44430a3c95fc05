"""Transport `memory`: the edge lives in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.channel.channel import Channel
from dagflow.channel.lanes import LaneChannel
from dagflow.transport import Transport

if TYPE_CHECKING:
    from dagflow.context import ChannelLinks
    from dagflow.graph.plan import EdgePlan


class Memory(Transport):
    """Carries an edge inside the process, through a bounded channel."""

    def build_channel(self, edge: EdgePlan, links: ChannelLinks) -> Channel:
        """Build the channel of one edge."""
        if edge.spill is not None:
            from dagflow.channel.overflow import SpillChannel

            return SpillChannel(edge, links)
        return LaneChannel(edge, links) if links.lanes else Channel(edge, links)
