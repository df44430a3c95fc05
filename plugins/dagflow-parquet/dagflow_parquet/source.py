"""Source `parquet`: gives a record for each row of one Parquet file, or of many.

Files are read in threads, a batch of rows at a time. Only the columns that the options name are read.
"""

from __future__ import annotations

import asyncio
from glob import glob, has_magic
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from dagflow import Context, FilePath, Options, PluginError, Record, RecordError, Source, UnreadableInput
from pydantic import Field

from dagflow_parquet.values import as_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Parquet(Source):
    """Gives a record for each row.

    The id of a record is what stands in the column `id`; without one it is `NODE:ROW`, counted from 0, or
    `NODE:FILE:ROW` where there are several files.
    """

    contract = 1

    class Options(Options):
        path: FilePath = Field(description="the file, or a glob such as `in/*.parquet`")
        fields: list[str] = Field(["input"], min_length=1, description="the columns that become fields")
        id: str | None = Field(None, description="the column that holds the ids")
        session: str | None = Field(None, description="the column that holds the sessions")
        meta: list[str] = Field([], description="the columns that go on under `meta`")
        batch_rows: int = Field(1024, ge=1, description="how many rows are read at a time")

    _files: dict[str, Path]
    _open: _File | None = None
    _total = _read = 0

    def writes(self) -> set[str]:
        return set(self.options.fields)

    def progress(self) -> float | None:
        return self._read / self._total if self._total else None

    async def open(self, context: Context) -> None:
        await super().open(context)
        paths = await asyncio.to_thread(_find, self.options.path)
        self._files = {path.name if len(paths) > 1 else "": path for path in paths}
        if len(self._files) < len(paths):  # files of one name in several folders
            self._files = {str(path): path for path in paths}
        for path in paths:
            self._total += await asyncio.to_thread(_checked_rows, path, self._columns())

    async def records(self) -> AsyncIterator[Record]:
        for name, path in self._files.items():
            prefix = f"{self.context.name}:{name}:" if name else f"{self.context.name}:"
            self._open = file = await asyncio.to_thread(_File, path, self._columns(), self.options.batch_rows)
            number = 0
            while (rows := await asyncio.to_thread(file.next_rows)) is not None:
                for row in rows:
                    self._read += 1
                    yield self._record(row, f"{prefix}{number}")
                    number += 1
            await asyncio.to_thread(file.close)

    async def close(self) -> None:
        if self._open is not None:
            await asyncio.to_thread(self._open.close)

    def _columns(self) -> list[str]:
        options = self.options
        named = [name for name in (options.id, options.session) if name is not None]
        return list(dict.fromkeys([*options.fields, *named, *options.meta]))

    def _record(self, row: dict[str, Any], place: str) -> Record:
        options = self.options
        try:
            values = {name: as_json(value) for name, value in row.items()}
        except RecordError as error:
            return UnreadableInput(error, id=place)
        id, session = (values.get(name) if name else None for name in (options.id, options.session))
        return Record(
            {name: values[name] for name in options.fields},
            place if id in (None, "") else str(id),
            None if session is None else str(session),
            meta={name: values[name] for name in options.meta},
        )


class _File:
    """One open file; used by one thread at a time, though who is cancelled may close it while it is read."""

    def __init__(self, path: Path, columns: list[str], batch_rows: int) -> None:
        self._lock = Lock()
        self._file = pq.ParquetFile(path)
        self._batches: Iterator[Any] | None = self._file.iter_batches(batch_rows, columns=columns)

    def next_rows(self) -> list[dict[str, Any]] | None:
        """Read the next rows; None at the end, or once it is closed."""
        with self._lock:
            batch = None if self._batches is None else next(self._batches, None)
            return None if batch is None else batch.to_pylist()

    def close(self) -> None:
        """Let go of the file; twice is fine."""
        with self._lock:
            self._batches = None
            self._file.close()


def _find(path: Path) -> list[Path]:
    paths = [Path(found) for found in sorted(glob(str(path)))] if has_magic(str(path)) else [path]
    if not paths:
        raise PluginError(f"no file is named like `{path}`")
    return paths


def _checked_rows(path: Path, columns: list[str]) -> int:
    """Count the rows of a file, once it is known to have all columns."""
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            missing = [column for column in columns if column not in names]
            rows = file.metadata.num_rows
    except (OSError, ValueError) as error:
        raise PluginError(f"`{path}` can't be read: {error}") from error
    if missing:
        raise PluginError(f"`{path}` has no column `{missing[0]}`; it has {', '.join(names)}")
    return rows
