"""Sink `jsonl`: writes records into a file, one line each, whole lines only."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Literal

from anyio import to_thread
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from dagflow.claims import claim
from dagflow.errors import PluginError
from dagflow.options import FilePath
from dagflow.sinks.line_sink import LineSink
from dagflow.sinks.lines import LineOptions
from dagflow.sinks.live import LineStream
from dagflow.sinks.output import FileOutput, Output, build_output

if TYPE_CHECKING:
    from pathlib import Path


class Jsonl(LineSink):
    """Writes each record as a line of JSON, or as the text of `template`, into `path`.

    The file is this sink's alone until the run ends, and keeps what it held until the first line
    comes. `flush` brings all lines to the disk, and gives the position after them. With `format =
    "stream"`, a record has a line for each chunk of its answer, and one that says how it ended.
    """

    live_output = LineStream

    class Options(LineOptions):
        path: FilePath = Field(description="the file that is written; its folder must exist")
        mode: Literal["replace", "append"] = Field(
            "replace", description="whether what the file held before is replaced or kept"
        )

        @field_validator("path")
        @classmethod
        def _is_file(cls, path: Path) -> Path:
            if str(path) == "-":
                raise PydanticCustomError("no_file", 'it is no file; a sink with `type = "stdout"` prints')
            return path

    async def build_output(self) -> Output:
        appends = self.options.mode == "append" or self.context.resumes
        # In a thread, which is left behind where this is cancelled: a named pipe opens only when somebody reads it.
        fd = await to_thread.run_sync(_open, self.options.path, appends, abandon_on_cancel=True)
        begin = _end_last_line if appends else _empty
        if self.context.position is not None:
            begin = partial(_cut_off, offset=_checked(fd, self.options.path, self.context.position))
        return build_output(fd, str(self.options.path), owned=True, begin=begin)


def open_to_append(path: Path) -> FileOutput:
    """Open a regular file to which lines are added.

    Raises:
        PluginError: it can't be, or is none.
    """
    output = build_output(_open(path, append=True), str(path), owned=True, begin=_end_last_line)
    if not isinstance(output, FileOutput):
        output.close()
        raise PluginError(f"cannot write `{path}`: it is no regular file")
    return output


def _open(path: Path, append: bool) -> int:
    if not path.parent.is_dir():
        raise PluginError(f"cannot write `{path}`: there is no folder `{path.parent}`")
    try:
        fd = os.open(path, os.O_CREAT | (os.O_RDWR | os.O_APPEND if append else os.O_WRONLY), 0o666)
    except OSError as error:
        raise PluginError(f"cannot write `{path}`: {error.strerror}") from error
    try:
        claim(fd, path)
    except PluginError:
        os.close(fd)
        raise
    return fd


def _checked(fd: int, path: Path, position: dict[str, int]) -> int:
    """Give the offset of a position, if the file still reaches there, and a line ends there; else let go of it."""
    offset, size = position["offset"], os.fstat(fd).st_size
    if size < offset:
        reason = f"has {size} bytes, but {offset} were written"
    elif offset and os.pread(fd, 1, offset - 1) != b"\n":
        reason = f"is not what was written: no line ends at its first {offset} bytes"
    else:
        return offset
    os.close(fd)
    raise PluginError(f"`{path}` {reason}; start over with `--fresh`")


def _cut_off(fd: int, offset: int) -> None:
    os.ftruncate(fd, offset)
    os.lseek(fd, offset, os.SEEK_SET)


def _empty(fd: int) -> None:
    os.ftruncate(fd, 0)


def _end_last_line(fd: int) -> None:
    """Go to the end of a file, and end a line that was torn there, so that the next one begins well."""
    end = os.lseek(fd, 0, os.SEEK_END)
    if end and os.pread(fd, 1, end - 1) != b"\n":
        os.write(fd, b"\n")
