"""Sink `null`: takes every record and keeps none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.plugin import Sink

if TYPE_CHECKING:
    from dagflow.record import Record


class Null(Sink):
    """Delivers each record to nobody."""

    resumable = True
    parallel = True

    async def write(self, record: Record) -> None:
        pass
