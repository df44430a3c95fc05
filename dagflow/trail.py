"""Trail: what happened to one record on its way, for those who are to be told: where it stayed, and who was asked.

Only noted where somebody wants to know; a ticket without a trail costs nothing. Times are points of
`time.perf_counter_ns` for stays, and of the pipeline's clock, in seconds, for calls.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
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
        waited_ns = perf_counter_ns() - self.accepted_ns
        for _, began_ns, ended_ns, _ in self.stays:
            waited_ns -= ended_ns - began_ns
        waited_s = waited_ns / 1e9
        for _, call in self.calls:
            waited_s += call.started_s - call.arrived_s
            if not call.ended_s:  # what is still streaming stands in no stay yet
                waited_s -= now_s - call.arrived_s
        return max(waited_s, 0.0)


def note_failed(record: Record, node: str, began_ns: int, ended_ns: int, error: BaseException) -> None:
    """Note the stay of a record that its plugin raised for, where the record has a trail."""
    trail = record.ticket.trail
    if trail is not None:
        code = getattr(error, "code", "bug" if isinstance(error, Exception) else "cancelled")
        trail.stays.append(Stay(node, began_ns, ended_ns, code))
