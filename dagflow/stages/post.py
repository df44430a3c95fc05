"""Stage `post`: works on an answer before anybody sees it.

It replaces the completion itself, not only a copy of its text, so that no sink can show what a
step took out. A live completion goes on at once, and its chunks are changed while they come.
"""

from __future__ import annotations

from pydantic import Field

from dagflow.completion import Completion
from dagflow.errors import InvalidField, RecordError
from dagflow.options import FieldName, Options
from dagflow.plugin import Stage
from dagflow.record import Record
from dagflow.rewriting import InTurn
from dagflow.stages.steps import Step, Trim


class Post(Stage):
    """Applies `steps` in turn to the text of `completion`, and mirrors the result in `output`.

    Where the answer is streamed, `output`, like whatever else a step writes, is there when the stream has ended well.
    """

    passes_live = True

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
        if completion.is_live or completion.error is not None:
            self._transform(completion, record)
        else:
            self._apply(completion, record)
        return record

    def _apply(self, completion: Completion, record: Record) -> None:
        text, reasoning = completion.text, completion.reasoning
        for step in self.options.steps:
            text = step.apply(text, record)
            reasoning = step.apply(reasoning, record) if step.hides and reasoning else reasoning
        if text is not completion.text or reasoning is not completion.reasoning:
            record["completion"] = completion.with_text(text, reasoning)
        record[self.options.output] = text

    def _transform(self, completion: Completion, record: Record) -> None:
        steps = self.options.steps
        text = _Answer(record, completion, steps, self.options.output, self.context.name)
        completion.transform(text, InTurn([step.stream(record) for step in steps if step.hides]))


class _Answer(InTurn):
    """All steps in turn on the text of one record, which gets what they write at the end."""

    __slots__ = ("_completion", "_name", "_output", "_parts", "_record", "_written")

    def __init__(self, record: Record, completion: Completion, steps: list[Step], output: str, name: str) -> None:
        self._written = Record()
        super().__init__([step.stream(self._written) for step in steps])
        self._record = record
        self._completion = completion
        self._output = output
        self._name = name
        self._parts: list[str] = []

    def feed(self, text: str) -> str:
        text = super().feed(text)
        self._parts.append(text)
        return text

    def end(self) -> str:
        try:
            rest = super().end()
        except RecordError as error:
            error.node = self._name
            raise
        self._written[self._output] = "".join([*self._parts, rest])
        self._record.update(self._written)
        self._completion.fields.update(self._written)
        return rest
