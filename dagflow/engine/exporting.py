"""Exporting: sends the metrics of a run to its exporters, now and then, and once more at the end.

An exporter that fails or hangs harms nobody: it is bounded, told of in the log, and counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from dagflow.engine.faults import is_interruption
from dagflow.errors import describe
from dagflow.telemetry.families import Family, Point

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dagflow.graph.plan import ExporterPlan
    from dagflow.plugin import Exporter


async def export_all(exporters: Iterable[Exporting], read: Callable[[], Sequence[Family]]) -> None:
    """Send what `read` gives with each exporter, now and then, until cancelled."""
    async with anyio.create_task_group() as sending:
        for exporter in exporters:
            sending.start_soon(exporter.run, read)


class Exporting:
    """One exporter at work.

    Attributes:
        failed: how many times the metrics could not be sent.
    """

    def __init__(
        self,
        plan: ExporterPlan,
        plugin: Exporter,
        labels: Mapping[str, str],
        log: Any,
    ) -> None:
        self.plan = plan
        self.plugin = plugin
        self.failed = 0
        self._labels = labels
        self._log = log

    async def run(self, read: Callable[[], Sequence[Family]]) -> None:
        """Send what `read` gives, now and then, until cancelled."""
        while True:
            await anyio.sleep(self.plan.interval_s)
            await self.send(read())

    async def send(self, families: Sequence[Family]) -> None:
        """Send these."""
        with anyio.move_on_after(self.plan.timeout_s) as scope:
            try:
                await self.plugin.export([self._labelled(family) for family in families])
            except BaseException as error:
                if is_interruption(error):
                    raise
                self._fail(describe(error))
        if scope.cancelled_caught:
            self._fail(f"it took longer than {self.plan.timeout_s:g} s")

    def _fail(self, reason: str) -> None:
        self.failed += 1
        self._log.warning("metrics not sent", exporter=self.plan.name, error=reason, failed=self.failed)

    def _labelled(self, family: Family) -> Family:
        if not self._labels:
            return family
        points = tuple(Point({**self._labels, **sample.labels}, sample.value) for sample in family.points)
        return Family(family.name, family.kind, family.help, family.unit, points)
