"""Stage `shout`: writes one field in upper case."""

from __future__ import annotations

from dagflow import Options, Record, RecordError, Stage
from pydantic import Field


class Shout(Stage):
    """Writes one field in upper case."""

    contract = 1

    class Options(Options):
        field: str = Field("input", description="the field that is changed")

    def reads(self) -> set[str]:
        return {self.options.field}

    def writes(self) -> set[str]:
        return {self.options.field}

    async def process(self, record: Record) -> Record:
        text = record.get(self.options.field)
        if not isinstance(text, str):
            raise RecordError(f"field `{self.options.field}` should be a text")
        record[self.options.field] = text.upper()
        return record
