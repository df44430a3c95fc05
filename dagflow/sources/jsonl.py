"""Source `jsonl`: reads one record from each line of a file, of many, or of the standard input.

A line that is no record is a failed record with its place, never the end of the run. Blank
lines are no lines. Memory does not grow with the input.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Literal

from anyio import to_thread
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from dagflow.claims import claim_standard_input
from dagflow.options import FieldName, FilePath, Options, Size
from dagflow.plugin import Source
from dagflow.sources.files import find_files, is_pipe, name_files, total_size
from dagflow.sources.formats import BATCH_FIELDS
from dagflow.sources.line_reader import LineReader
from dagflow.sources.lines import read_lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from threading import Lock

    from dagflow.plugin import Context
    from dagflow.record import Record


class Jsonl(Source):
    """Reads records from lines of JSON.

    A line's own `id` or `custom_id`, `session`, `priority` and `deadline` (a duration from its
    acceptance) are those of the record; without an id it is `NODE:LINE`, or `NODE:FILE:LINE` where
    there are several files. Keys that are no fields go under `meta`.
    """

    class Options(Options):
        path: FilePath = Field(description="the file, a glob such as `in/*.jsonl`, or `-` for the standard input")
        format: Literal["auto", "records", "openai-batch"] = Field(
            "auto",
            description="`records`: an object a line; `openai-batch`: lines of OpenAI's batch API, which give "
            "`messages`, `input` and `parameters`; `auto`: what the first line of each file looks like",
        )
        fields: list[FieldName] = Field(
            ["input"], min_length=1, description="the keys that become fields; each line must have them"
        )
        max_line: Size = Field(16 * 1024**2, ge=1, description="the longest line that is read; longer ones fail")

        @model_validator(mode="after")
        def _check(self) -> Jsonl.Options:
            if self.format == "openai-batch" and "fields" in self.model_fields_set:
                raise PydanticCustomError("fields_of_batch", "batch lines have their own fields; remove `fields`")
            return self

    incidental = frozenset({"path", "max_line"})
    _stdin: Lock | None = None
    _total: int | None = None
    _read = 0  # bytes, line feeds included

    @property
    def resumable(self) -> bool:  # type: ignore[override]
        return str(self.options.path) != "-" and not is_pipe(self.options.path)

    @property
    def splits(self) -> bool:  # type: ignore[override]
        return self.resumable

    splits_sessions = splits

    def writes(self) -> set[str]:
        return set(BATCH_FIELDS if self.options.format == "openai-batch" else self.options.fields)

    def progress(self) -> float | None:
        return min(1.0, self._read / self._total) if self._total else None

    async def open(self, context: Context) -> None:
        await super().open(context)
        if str(self.options.path) == "-":
            self._stdin = claim_standard_input()
        files = await to_thread.run_sync(find_files, self.options.path)
        self._names = name_files(files)
        self._total = await to_thread.run_sync(total_size, files)

    async def close(self) -> None:
        if self._stdin is not None:
            self._stdin.release()
            self._stdin = None

    async def records(self) -> AsyncIterator[Record]:
        for file, name in self._names.items():
            id_prefix = f"{self.context.name}:{name}" if len(self._names) > 1 else self.context.name
            reader = LineReader(self.options, name, id_prefix, self.context.clock, self.context.share)
            async with aclosing(read_lines(file, self.options.max_line)) as batches:
                async for lines in batches:
                    for line in lines:
                        self._read += len(line or b"") + 1
                        record = reader.read(line)
                        if record is not None:
                            yield record
