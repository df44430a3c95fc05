"""For each rule for exporters, one that breaks it."""

from __future__ import annotations

import asyncio
from typing import Any

from dagflow.plugin import Exporter
from dagflow.testing import Sample


class Sound(Exporter):
    """Keeps what it was given last."""

    async def export(self, families: Any) -> None:
        await asyncio.sleep(0)
        self.last = [family.name for family in families]


class Choosy(Exporter):
    """Fails without any metric."""

    async def export(self, families: Any) -> None:
        await asyncio.sleep(0)
        self.first = families[0]


class Writing(Exporter):
    """Puts a label of its own on what others get, too."""

    async def export(self, families: Any) -> None:
        await asyncio.sleep(0)
        for family in families:
            for sample in family.points:
                sample.labels["host"] = "mine"


class Stubborn(Exporter):
    """Swallows a cancellation."""

    async def export(self, families: Any) -> None:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            await asyncio.sleep(0)


SOUND = {"plain": Sample(Sound)}
BROKEN = {"EXPORTER-1": Sample(Choosy), "EXPORTER-2": Sample(Writing), "EXPORTER-3": Sample(Stubborn)}
