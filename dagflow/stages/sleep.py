"""Stage `sleep`: takes its time and changes nothing, to see how a pipeline behaves."""

from __future__ import annotations

from asyncio import sleep
from random import Random
from typing import TYPE_CHECKING

from pydantic import Field

from dagflow.delays import Delay
from dagflow.options import Options
from dagflow.plugin import Stage

if TYPE_CHECKING:
    from dagflow.plugin import Context
    from dagflow.record import Record


class Sleep(Stage):
    """Waits for each record, then passes it on unchanged."""

    incidental = frozenset({"delay", "seed"})

    class Options(Options):
        delay: Delay = Field(description='how long: "20ms", "uniform(5ms, 20ms)" or "lognormal(20ms, 0.5)"')
        seed: int = Field(0, description="the same seed gives the same series of delays")

    async def open(self, context: Context) -> None:
        await super().open(context)
        # The name keeps stages of one seed from sleeping in step.
        self._random = Random(f"{self.options.seed}:{context.name}")

    def writes(self) -> set[str]:
        return set()

    async def process(self, record: Record) -> Record:
        await sleep(self.options.delay.sample_s(self._random))
        return record
