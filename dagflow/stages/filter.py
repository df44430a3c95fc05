"""Stage `filter`: lets through the records of which a condition holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from dagflow.expressions import Expression
from dagflow.options import Options
from dagflow.plugin import Stage

if TYPE_CHECKING:
    from dagflow.record import Record


class Filter(Stage):
    """Passes a record on if `keep` holds, else ends it as `filtered`."""

    class Options(Options):
        keep: Expression = Field(description="the condition on the records that go on; an undefined name is false")

    def reads(self) -> set[str]:
        return set(self.options.keep.required)

    def writes(self) -> set[str]:
        return set()

    async def process(self, record: Record) -> Record | None:
        return record if self.options.keep.holds(record) else None
