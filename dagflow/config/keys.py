"""Keys: the way from the root of a TOML file to one of its values."""

from __future__ import annotations

import re
from typing import Any

Key = tuple[str | int, ...]
"""Names of tables and keys, and positions in arrays: `("pipeline", "edges", 2, "capacity")`."""


def render_key(key: Key) -> str:
    """Write a key as a reader of the file would: `pipeline.edges[2].capacity`."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"'
            text += f".{bare}" if text else bare
    return text


def is_under(key: Key, prefix: Key) -> bool:
    """Whether `key` is `prefix` or lies below it."""
    return key[: len(prefix)] == prefix


def value_at(tables: Any, key: Key) -> Any:
    """Give the value at `key`, or None where there is none."""
    for part in key:
        known = part in tables if isinstance(tables, dict) else isinstance(tables, list) and 0 <= part < len(tables)
        if not known:
            return None
        tables = tables[part]
    return tables
