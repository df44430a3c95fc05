"""Paths: how they are called in records, ids and messages."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import PurePath


def name_of(path: PurePath | str) -> str:
    """Give a path as text, with `/`: names of files are bytes, and what is no UTF-8 in them is replaced."""
    return os.fsencode(path).decode(errors="replace")
