"""Orders: in which order a channel hands its records out.

What a channel asks of any order: `push`, `pop` (IndexError when empty), `len`, iteration from
the next record to the last, `remove`, and the candidates for shedding, `oldest` and `lowest`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.channel.earliest import ByDeadline
from dagflow.channel.fifo import Fifo
from dagflow.channel.priority import ByPriority

if TYPE_CHECKING:
    from dagflow.graph.plan import EdgePlan


def build_order(edge: EdgePlan) -> Fifo | ByPriority | ByDeadline:
    """Build the empty order of an edge."""
    if edge.order == "priority":
        return ByPriority(edge.ageing_s)
    return ByDeadline() if edge.order == "deadline" else Fifo()
