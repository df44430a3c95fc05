"""Files: which files a path or glob means, how they are called, and how large they are."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from dagflow.errors import PluginError


def find_files(path: Path) -> list[Path]:
    """Give the files that a path means, in sorted order; `-` is the standard input.

    Raises:
        PluginError: there is none, or one of them can't be read.
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


def _check_readable(file: Path) -> None:
    if not file.exists():
        raise PluginError(f"there is no file `{file}`")
    if file.is_dir():
        raise PluginError(f"`{file}` is a folder; expected a file, or a glob such as `{file / '*.jsonl'}`")
    if not os.access(file, os.R_OK):
        raise PluginError(f"`{file}` can't be read: permission denied")


def name_files(files: list[Path]) -> dict[Path, str]:
    """Give each file a short name that no other has: its path from the folder that holds them all."""
    if str(files[0]) == "-":
        return {files[0]: "stdin"}
    common = os.path.commonpath([file.parent.absolute() for file in files])
    return {file: os.path.relpath(file.absolute(), common) for file in files}


def total_size(files: list[Path]) -> int | None:
    """Add up the sizes in bytes; None where one is no regular file, and so has none."""
    return sum(file.stat().st_size for file in files) if all(file.is_file() for file in files) else None
