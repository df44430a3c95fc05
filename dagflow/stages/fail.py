"""Stage `fail`: fails some records on purpose, to see how a pipeline bears it."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dagflow.errors import WorkerError
from dagflow.options import Options
from dagflow.plugin import Stage

if TYPE_CHECKING:
    from dagflow.plugin import Context
    from dagflow.record import Record

ErrorKind = Literal[
    "timeout", "unavailable", "overloaded", "refused", "context_window", "content_policy", "protocol", "bug"
]


class Fail(Stage):
    """Raises for a share of the attempts and passes the rest on unchanged.

    Each attempt is drawn anew, so that a retry may succeed.
    """

    class Options(Options):
        rate: float = Field(1.0, ge=0, le=1, description="the share of attempts that fail, 0 to 1")
        error: ErrorKind = Field(
            "unavailable",
            description="the kind of worker error that is raised (`timeout`, `unavailable` and `overloaded` may be "
            "retried), or `bug` for an exception that no plugin should raise",
        )
        seed: int = Field(0, description="the same seed fails the same attempts")

    async def open(self, context: Context) -> None:
        await super().open(context)
        self._random = Random(f"{self.options.seed}:{context.name}")

    def writes(self) -> set[str]:
        return set()

    async def process(self, record: Record) -> Record:
        if self._random.random() < self.options.rate:
            raise self._build_error()
        return record

    def _build_error(self) -> Exception:
        text = f"stage `{self.context.name}` fails on purpose"
        return RuntimeError(text) if self.options.error == "bug" else WorkerError(self.options.error, text)
