"""Stage `post`: works on an answer before anybody sees it.

It replaces the completion itself, not only a copy of its text, so that no sink can show what a
step took out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from dagflow.completion import Completion
from dagflow.errors import InvalidField
from dagflow.options import FieldName, Options
from dagflow.plugin import Stage
from dagflow.stages.steps import Step, Trim

if TYPE_CHECKING:
    from dagflow.record import Record


class Post(Stage):
    """Applies `steps` in turn to the text of `completion`, and mirrors the result in `output`."""

    class Options(Options):
        steps: list[Step] = Field(
            [Trim(type="trim")], description="what is done, in this order: `trim`, `replace`, `redact`, `json`"
        )
        output: FieldName = Field("text", description="the field that gets the text of the completion")

    def reads(self) -> set[str]:
        return {"completion"}

    def writes(self) -> set[str]:
        return {"completion", self.options.output}.union(*(step.writes() for step in self.options.steps))

    async def process(self, record: Record) -> Record:
        completion = record.get("completion")
        if not isinstance(completion, Completion):
            raise InvalidField("completion", "a completion, as stage `inference` writes it", completion)
        before = text = completion.text
        for step in self.options.steps:
            text = step.apply(text, record)
        if text is not before:
            record["completion"] = completion.with_text(text)
        record[self.options.output] = text
        return record
