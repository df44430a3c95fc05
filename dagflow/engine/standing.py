"""Standing: how a running engine is: its report, what is at work and what waits now, and its histograms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from dagflow.telemetry.families import Family

if TYPE_CHECKING:
    from collections import Counter

    from dagflow.engine.engine import Engine
    from dagflow.engine.wiring import Wiring


class Standing(Struct):
    """How an engine is.

    Attributes:
        report: its status; latencies: the histograms behind its quantiles, by their places there.
    """

    report: dict[str, Any]
    latencies: dict[str, dict[int, int]]
    families: list[Family]


def read_standing(engine: Engine) -> Standing:
    """Read how an engine is."""
    latencies = {place: dict(buckets) for place, buckets in read_latencies(engine.wiring).items()}
    return Standing(read_status(engine), latencies, engine.families())


def read_status(engine: Engine) -> dict[str, Any]:
    """Give the report as of now, with what only a running pipeline has to say; cheap enough for each second."""
    report, wiring = engine.report(), engine.wiring
    for name, node in wiring.nodes.items():
        report["nodes"][name]["slots"] = node.plan.concurrency
    for name, channel in wiring.channels.items():
        if (since := channel.statistics().oldest_at) is not None:
            report["edges"][name]["oldest_s"] = max(engine.clock() - since, 0.0)
    return report


def read_latencies(wiring: Wiring) -> dict[str, Counter[int]]:
    """Give the histograms behind the quantiles of a report, by the places where these stand."""
    latencies = {f"nodes/{name}": node.latency.snapshot() for name, node in wiring.nodes.items()}
    for name, worker in wiring.own_workers.items():
        latencies[f"workers/{name}"] = worker.tally.latency.snapshot()
        latencies[f"workers/{name}/first_chunk"] = worker.tally.first_chunk.snapshot()
    return latencies
