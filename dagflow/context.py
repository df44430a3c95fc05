"""Context: what a plugin may know of the pipeline it runs in, and ChannelLinks, what a channel is connected to."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dagflow.shares import WHOLE, Share

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dagflow.access.grants import Grants
    from dagflow.plugin import ModelWorker, Source
    from dagflow.record import Outcome, Record
    from dagflow.telemetry.instruments import Metrics


def _any_number(record: Record) -> int:
    return sys.maxsize


@dataclass(slots=True)
class Context:
    """What a plugin may know of the pipeline it runs in.

    Attributes:
        name: the node's or worker's name in the file.
        logger: a structlog logger bound to that name.
        clock: the pipeline's monotonic clock, in seconds; deadlines are points on it.
        metrics: counters and histograms, shown in the report under this node.
        workers: the opened workers that this node's options name.
        live: for a stage that makes completions: whether what follows forwards a live one.
        resumes: whether this run goes on with the work of an earlier one, so that a sink adds to what it wrote.
        position: where it is to go on, for a sink that gave one as its `position`; None to begin anew.
        timeout_s: for a stage or sink: its `timeout`, which bounds each call of `process` or `write`, in seconds.
        pipeline: the pipeline's name.
        grants: what the tokens of `[auth]` allow; None where there is no such table.
        share: for a source that splits: what this process takes of it.
        replaces: for a source: that of an earlier plan, which still runs, and whose place it is to take; None for none.
        room: for a source: how many records like the given one would be taken now without waiting; below 0 where some
            wait already.
    """

    name: str
    logger: Any
    clock: Callable[[], float]
    metrics: Metrics
    workers: Mapping[str, ModelWorker] = field(default_factory=dict)
    live: bool = False
    resumes: bool = False
    position: Any = None
    timeout_s: float | None = None
    pipeline: str = ""
    grants: Grants | None = None
    share: Share = WHOLE
    replaces: Source | None = None
    room: Callable[[Record], int] = _any_number


@dataclass(frozen=True, slots=True)
class ChannelLinks:
    """What a channel is connected to.

    Attributes:
        on_lost: told of each record that the channel loses: record, outcome, reason.
        clock: seconds, for `max_wait` and deadlines.
        marks: whether each record is marked with the time at which it came, for those who read how old the oldest is.
        receivers: waiting receivers, shared by all channels that lead to one node.
        lanes: the doorbell of each lane, where the node has lanes; its channel is a `LaneChannel` then.
    """

    on_lost: Callable[[Record, Outcome, str], None]
    clock: Callable[[], float]
    receivers: Any
    lanes: Sequence[Any] = ()
    marks: bool = False
