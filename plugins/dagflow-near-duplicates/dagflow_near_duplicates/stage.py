"""Stage `near-duplicates`: filters out, or marks, what is nearly the same as an earlier record."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Literal

from dagflow import Context, Options, Record, RecordError, Stage
from pydantic import Field

from dagflow_near_duplicates.sketch import sketch
from dagflow_near_duplicates.table import Table

if TYPE_CHECKING:
    from dagflow_near_duplicates.table import Match


class NotAText(RecordError):
    """The field is missing, or no text."""

    code = "not-a-text"

    def __init__(self, field: str, value: object) -> None:
        super().__init__(f"field `{field}` should be a text, but is of type `{type(value).__name__}`")


class NearDuplicates(Stage):
    """Filters out, or marks, a record whose text is nearly the same as that of an earlier one.

    Case, punctuation and white space make no difference. Memory is bounded by `remember`.
    """

    contract = 1

    class Options(Options):
        field: str = Field("input", description="the field whose text is compared")
        similarity: float = Field(
            0.85, gt=0, le=1, description="the share of five-letter pieces that two texts have in common at least"
        )
        remember: int = Field(100_000, ge=1, description="the most texts that are kept to compare with")
        action: Literal["filter", "mark"] = Field(
            "filter", description="whether a duplicate ends as `filtered`, or goes on with a mark"
        )
        output: str = Field(
            "duplicate_of", description="with `mark`: the field that gets the id of the earlier record, or null"
        )

    def reads(self) -> set[str]:
        return {self.options.field}

    def writes(self) -> set[str]:
        return {self.options.output} if self.options.action == "mark" else set()

    async def open(self, context: Context) -> None:
        await super().open(context)
        self._table = Table(self.options.similarity, self.options.remember)
        self._lock = Lock()
        self._found = context.metrics.counter("duplicates")

    def process(self, record: Record) -> Record | None:
        """Compare a record; a plain function runs in a thread, so that a long text makes nobody wait."""
        text = record.get(self.options.field)
        if not isinstance(text, str):
            raise NotAText(self.options.field, text)
        made = sketch(text)
        with self._lock:
            match = self._table.meet(record.id, made)
            self._found.add(0 if match is None else 1)
        return self._result(record, match)

    def _result(self, record: Record, match: Match | None) -> Record | None:
        if self.options.action == "mark":
            record[self.options.output] = None if match is None else match.id
            return record
        return record if match is None else None
