"""Rules for exporters: what `export` does with the metrics that it is given."""

from __future__ import annotations

import asyncio
import copy
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from dagflow.telemetry.families import Buckets, Family, Point
from dagflow.testing.conformance.calls import check_cancelled
from dagflow.testing.conformance.rule import Breach, demand, rule

if TYPE_CHECKING:
    from dagflow.testing.conformance.trial import Trial

_ODD: Final = 'an "odd" -> value\n{}, ünïcode, 100 %'


def sample_families(number: int = 1) -> list[Family]:
    """Make a counter, a gauge and a histogram, with labels and without, that grow with `number`."""
    points = (Point({}, number), Point({"edge": "a -> b", "reason": _ODD}, number * 2))
    buckets = Buckets((0.1, 1.0), (number, 0, 1), 7.5 * number)
    return [
        Family("dagflow_sample", "counter", "A counter.", "", points),
        Family("dagflow_depth", "gauge", "A gauge.", "", (Point({"edge": "a"}, -0.5), Point({"edge": "b"}, number))),
        Family("dagflow_duration_seconds", "histogram", "A histogram.", "s", (Point({"node": "a"}, buckets),)),
        Family("gen_ai.client.token.usage", "histogram", "Another.", "{token}", (Point({}, buckets),)),
    ]


async def use_exporter(trial: Trial, exporter: Any) -> None:
    """Export twice, whatever comes of it."""
    for number in (1, 2):
        with suppress(Exception):
            await trial.bounded(exporter.export(sample_families(number)), "`export`")


@rule("EXPORTER-1")
async def takes_families(trial: Trial) -> None:
    """`export` comes to an end with counters, gauges and histograms, with odd labels, and with none at all."""
    async with trial.opened() as exporter:
        for families in (sample_families(), [], sample_families(2)):
            try:
                await trial.bounded(exporter.export(families), "`export`")
            except Breach:
                raise
            except OSError:
                continue  # it could not be sent
            except Exception as error:
                raise Breach(f"`export` raised {type(error).__name__}: {error}") from error


@rule("EXPORTER-2")
async def leaves_families(trial: Trial) -> None:
    """`export` changes nothing of what it is given: others are given the same."""
    async with trial.opened() as exporter:
        families = sample_families()
        before = copy.deepcopy(families)
        with suppress(Exception):
            await trial.bounded(exporter.export(families), "`export`")
        demand(families == before, "`export` changed the families that it was given")


@rule("EXPORTER-3")
async def lets_cancellation_through(trial: Trial) -> None:
    """`export` lets a cancellation through, at any `await`, and works after it."""
    async with trial.opened() as exporter:
        await check_cancelled(trial, lambda: exporter.export(sample_families()), "`export`")
        task = asyncio.ensure_future(exporter.export(sample_families(3)))
        await asyncio.wait([task], timeout=trial.sample.patience_s)
        demand(task.done(), "after a cancellation, `export` did not end")
        task.cancelled() or task.exception()


EXPORTER_RULES: Final = (takes_families, leaves_families, lets_cancellation_through)
