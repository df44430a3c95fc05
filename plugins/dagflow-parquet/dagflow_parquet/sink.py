"""Sink `parquet`: writes records into a folder of Parquet files.

A Parquet file that was cut off can't be read. So records are collected for a moment, and each batch becomes a
file of its own, which takes its name when it is complete: `write` returns then, and not before.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from dagflow import Context, Duration, FilePath, Options, PluginError, Record, RecordError, Sink
from pydantic import Field

from dagflow_parquet.values import ColumnType, cell_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

_TYPES: Final = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "json": pa.string(),
}
_COMPRESSION: Final = "zstd"


class NotWritten(RecordError):
    """A file could not be written; another attempt may succeed."""

    code = "not-written"
    retryable = True


class Parquet(Sink):
    """Writes records into a folder of Parquet files, each of which is whole."""

    contract = 1
    default_concurrency = 1000

    class Options(Options):
        path: FilePath = Field(description="the folder; it is made if it does not exist")
        columns: dict[str, ColumnType] = Field(
            {"id": "text", "text": "text"}, min_length=1, description="the type of each column, which is a field's name"
        )
        rows: int = Field(1000, ge=1, description="the most rows of a file")
        linger: Duration = Field(1.0, gt=0, description="the longest wait for a file to fill")
        mode: Literal["new", "append"] = Field(
            "new", description="whether the folder must be without Parquet files, or gets more of them"
        )

    def __init__(self, options: BaseModel | None = None) -> None:
        super().__init__(options)
        self._batch: _Batch | None = None
        self._writing: set[asyncio.Task[None]] = set()

    def reads(self) -> set[str]:
        return set()  # a field that is missing is null

    def writes(self) -> set[str]:
        return set()

    async def open(self, context: Context) -> None:
        await super().open(context)
        self._schema = pa.schema([(name, _TYPES[type_name]) for name, type_name in self.options.columns.items()])
        self._number = await asyncio.to_thread(_first_number, self.options.path, self.options.mode)

    async def write(self, record: Record) -> None:
        row = {name: cell_of(record, name, type_name) for name, type_name in self.options.columns.items()}
        batch = self._batch = self._batch or _Batch(self)
        batch.rows.append(row)
        if len(batch.rows) >= self.options.rows:
            self.finish_batch(batch)
        await asyncio.shield(batch.written)

    async def flush(self) -> None:
        if self._batch is not None:
            self.finish_batch(self._batch)
        if self._writing:
            await asyncio.wait(self._writing)

    async def close(self) -> None:
        if self._batch is not None:
            self._batch.drop()
            self._batch = None
        if self._writing:
            await asyncio.wait(self._writing)

    def finish_batch(self, batch: _Batch) -> None:
        """Begin to write a batch; what comes later belongs to the next one."""
        batch.timer.cancel()
        if self._batch is batch:
            self._batch = None
        path = self.options.path / f"part-{self._number:06}.parquet"
        self._number += 1
        task = asyncio.ensure_future(batch.write(path, self._schema))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)


class _Batch:
    """Rows that will stand in one file, and what those wait for who brought them."""

    def __init__(self, sink: Parquet) -> None:
        loop = asyncio.get_running_loop()
        self.rows: list[Mapping[str, Any]] = []
        self.written: asyncio.Future[None] = loop.create_future()
        self.timer = loop.call_later(sink.options.linger, sink.finish_batch, self)

    async def write(self, path: Path, schema: pa.Schema) -> None:
        """Write the file, and tell all who wait."""
        try:
            await asyncio.to_thread(_write, path, self.rows, schema)
        except Exception as error:  # whatever it is, nobody must wait for ever
            self._tell(NotWritten(f"`{path}` could not be written: {error}"))
        else:
            self._tell(None)

    def drop(self) -> None:
        """Write nothing: nobody waits any more."""
        self.timer.cancel()
        self.written.cancel()

    def _tell(self, error: NotWritten | None) -> None:
        if self.written.done():
            return
        if error is None:
            self.written.set_result(None)
        else:
            self.written.set_exception(error)
            self.written.exception()  # whoever brought the rows may have been cancelled


def _write(path: Path, rows: list[Mapping[str, Any]], schema: pa.Schema) -> None:
    # Under another name until it is whole: who reads the folder meanwhile must not meet half a file.
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), file, compression=_COMPRESSION)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)


def _first_number(folder: Path, mode: str) -> int:
    """Make the folder, and give the number of its next file."""
    try:
        folder.mkdir(parents=False, exist_ok=True)
        names = [path.stem for path in folder.glob("*.parquet")]
    except OSError as error:
        raise PluginError(f"`{folder}` can't be written: {error.strerror}") from error
    if names and mode == "new":
        raise PluginError(f'`{folder}` holds Parquet files; choose another folder, or `mode = "append"`')
    numbers = [int(digits) for name in names if (digits := name.removeprefix("part-")).isdecimal()]
    return max(numbers, default=-1) + 1
