"""Stage `set`: computes fields from other fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from dagflow.expressions import Expression
from dagflow.options import FieldName, Options
from dagflow.plugin import Stage

if TYPE_CHECKING:
    from dagflow.record import Record


class Set(Stage):
    """Writes each field of `fields` with the value of its expression.

    All expressions see the record as it came in, so that their order does not matter and two
    fields can be swapped.
    """

    class Options(Options):
        fields: dict[FieldName, Expression] = Field(
            min_length=1, description="the expression for each field; what is undefined gives null"
        )

    def reads(self) -> set[str]:
        return set().union(*(expression.required for expression in self.options.fields.values()))

    def writes(self) -> set[str]:
        return set(self.options.fields)

    async def process(self, record: Record) -> Record:
        values = [expression.evaluate(record) for expression in self.options.fields.values()]
        record.update(zip(self.options.fields, values, strict=True))
        return record
