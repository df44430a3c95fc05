"""Stage `embed`: asks a model worker for the vectors of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from dagflow.errors import InvalidField
from dagflow.options import FieldName, Options, WorkerName
from dagflow.plugin import Stage

if TYPE_CHECKING:
    from dagflow.plugin import Context
    from dagflow.record import Record


class Embed(Stage):
    """Writes the vectors of a text, or of a list of texts, to `output`: `vectors`, `model` and `usage`."""

    default_concurrency = 8
    default_retry_budget = 0.1

    class Options(Options):
        worker: WorkerName = Field(description="the table under `[workers]` that makes the vectors")
        input: str = Field("input", min_length=1, description="the field with the text, or the list of texts")
        output: FieldName = Field("embeddings", description="the field that the vectors are written to")

    def reads(self) -> set[str]:
        return {self.options.input}

    def writes(self) -> set[str]:
        return {self.options.output}

    async def open(self, context: Context) -> None:
        await super().open(context)
        self._worker = context.workers[self.options.worker]
        self._tokens = context.metrics.counter("input_tokens")

    async def process(self, record: Record) -> Record:
        name = self.options.input
        texts = record.get(name)
        if isinstance(texts, str):
            texts = [texts]
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise InvalidField(name, "a text or a list of texts", texts)
        found = await self._worker.embed(texts)
        usage, model = getattr(found, "usage", None), getattr(found, "model", None)
        record[self.options.output] = {
            "vectors": list(found),
            "model": model,
            "usage": usage.as_dict() if usage is not None else None,
        }
        if usage is not None:
            self._tokens.add(usage.input_tokens)
        return record
