"""Files: which files a path or glob means, whether they hold text, how they are called, and how large they are."""

from __future__ import annotations

import glob
import os
import stat
from pathlib import Path
from typing import Final

from dagflow.claims import check_unclaimed
from dagflow.errors import PluginError
from dagflow.paths import name_of

# How files begin that are often taken for text.
_FOREIGN: Final = {
    b"\x1f\x8b": "is compressed with gzip",
    b"\x28\xb5\x2f\xfd": "is compressed with Zstandard",
    b"PK\x03\x04": "is a ZIP archive",
    b"\xff\xfe": "is UTF-16",
    b"\xfe\xff": "is UTF-16",
}


def find_files(path: Path) -> list[Path]:
    """Give the files that a path means, in sorted order; `-` is the standard input.

    Raises:
        PluginError: there is none, one of them can't be read or holds no text, or a sink writes it.
    """
    if str(path) == "-":
        return [path]
    # A file may have brackets in its name.
    if path.exists() or not glob.has_magic(str(path)):
        found = [path]
    else:
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True)) if not os.path.isdir(name)]
    if not found:
        raise PluginError(f"no file matches `{path}`")
    for file in found:
        _check_readable(file)
    return found


def is_pipe(path: Path) -> bool:
    """Whether a path is known to be a pipe or a terminal, which can be read once."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # whoever opens it tells what is wrong
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)


def _check_readable(file: Path) -> None:
    if not file.exists():
        home = "; `~` is no folder here, `${env:HOME}` is" if "~" in file.parts else ""
        raise PluginError(f"there is no file `{file}`{home}")
    if file.is_dir():
        raise PluginError(f"`{file}` is a folder; expected a file, or a glob such as `{file / '*.jsonl'}`")
    if not file.is_file():
        return  # to open a named pipe is to wait for its writer
    try:
        fd = os.open(file, os.O_RDONLY)
    except OSError as error:
        raise PluginError(f"`{file}` can't be read: {error.strerror}") from error
    try:
        check_unclaimed(fd, file)
        check_beginning(os.pread(fd, 4, 0), str(file))
    finally:
        os.close(fd)


def check_beginning(content: bytes, name: str) -> None:
    """Check that what a file begins with may be the beginning of lines of text.

    Raises:
        PluginError: it is a form of file that can't be read as lines.
    """
    for magic, what in _FOREIGN.items():
        if content.startswith(magic):
            raise PluginError(f"`{name}` {what}; expected lines of UTF-8 text, so convert it first")


def name_files(files: list[Path]) -> dict[Path, str]:
    """Give each file a short name that no other has: its path from the folder that holds them all."""
    if str(files[0]) == "-":
        return {files[0]: "stdin"}
    common = os.path.commonpath([file.parent.absolute() for file in files])
    return {file: name_of(os.path.relpath(file.absolute(), common)) for file in files}


def total_size(files: list[Path]) -> int | None:
    """Add up the sizes in bytes; None where one is no regular file, and so has none."""
    have_sizes = all(str(file) != "-" and file.is_file() for file in files)
    return sum(file.stat().st_size for file in files) if have_sizes else None
