"""Intake: where each slot of a node gets its records from, and the doorbell it waits at."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dagflow.channel.doorbell import Doorbell
from dagflow.channel.inlet import Inlet, build_inlet
from dagflow.channel.lanes import Lane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagflow.channel.channel import Channel
    from dagflow.engine.join import Join
    from dagflow.graph.plan import NodePlan


class Intake(NamedTuple):
    """The inlet of a slot, and the doorbell that rings when something came."""

    inlet: Channel | Lane | Inlet | Join
    bell: Doorbell


class Bells:
    """The doorbells of a node: one for all slots, or one for each lane."""

    __slots__ = ("lanes", "shared")

    def __init__(self, node: NodePlan) -> None:
        self.shared = Doorbell()
        self.lanes = [Doorbell() for _ in range(node.concurrency)] if node.affinity else []


def build_intakes(node: NodePlan, channels: Sequence[Channel], bells: Bells, join: Join | None) -> list[Intake]:
    """Give an intake for each slot of a node with these incoming channels."""
    if join is not None:
        return [Intake(join, bells.shared)] * node.concurrency
    if bells.lanes:
        return [
            Intake(build_inlet([Lane(channel, index) for channel in channels]), bell)
            for index, bell in enumerate(bells.lanes)
        ]
    return [Intake(build_inlet(channels), bells.shared)] * node.concurrency
