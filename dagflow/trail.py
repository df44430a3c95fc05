"""Trail: what happened to one record on its way, for those who are to be told: where it stayed, and who was asked.

Only noted where somebody wants to know; a ticket without a trail costs nothing. Times are points of
`time.perf_counter_ns` for stays, and of the pipeline's clock, in seconds, for calls.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagflow.inference.call import Call
    from dagflow.record import Record
    from dagflow.traceparent import TraceContext


class Stay(NamedTuple):
    """One record in one node: from when it was taken until the plugin was done; `error` is the code of a failure."""

    node: str
    began_ns: int
    ended_ns: int
    error: str | None


class Trail:
    """The notes on one record.

    Attributes:
        accepted_ns: when it was accepted.
        trace: the trace that it belongs to; None where nothing is traced.
        stays: the nodes that worked on it, in the order in which they were done.
        calls: the calls of workers that were made for it, with the worker's name; pools are not among them.
    """

    __slots__ = ("accepted_ns", "calls", "stays", "trace")

    def __init__(self, trace: TraceContext | None = None) -> None:
        self.accepted_ns = perf_counter_ns()
        self.trace = trace
        self.stays: list[Stay] = []
        self.calls: list[tuple[str, Call]] = []

    def worked_s(self, now_s: float) -> float:
        """Say how long workers have worked for it up to now, in seconds."""
        return sum((call.ended_s or now_s) - call.started_s for _, call in self.calls)

    def waited_s(self, now_s: float) -> float:
        """Say how long it has waited up to now, in edges and for workers, in seconds."""
        passed_s = (perf_counter_ns() - self.accepted_ns) / 1e9
        stayed_s = sum(stay.ended_ns - stay.began_ns for stay in self.stays) / 1e9
        # What is still streaming stands in no stay yet.
        streaming_s = sum(now_s - call.arrived_s for _, call in self.calls if not call.ended_s)
        held_back_s = sum(call.started_s - call.arrived_s for _, call in self.calls)
        return max(passed_s - stayed_s - streaming_s + held_back_s, 0.0)


def noting(node: str, call: Callable[[Record], Awaitable[Any]]) -> Callable[[Record], Awaitable[Any]]:
    """Wrap how a node is called so that each call is noted on the record's trail, where it has one."""

    async def noted(record: Record) -> Any:
        trail = record.ticket.trail
        if trail is None:
            return await call(record)
        began_ns, error = perf_counter_ns(), None
        try:
            return await call(record)
        except BaseException as caught:
            error = getattr(caught, "code", "bug" if isinstance(caught, Exception) else "cancelled")
            raise
        finally:
            trail.stays.append(Stay(node, began_ns, perf_counter_ns(), error))

    return noted
