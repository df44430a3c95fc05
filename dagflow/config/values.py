"""Values as they may be shown: never a secret, never what a reference gave."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any


@dataclass(frozen=True, slots=True)
class Value:
    """The value that was refused.

    Attributes:
        name: its key, below the table that it stands in.
        raw: the value that was validated.
        written: its text in the file, where it came out of a reference.
        secret: whether it must not be shown.
    """

    name: str
    raw: Any
    written: str | None = None
    secret: bool = False

    @property
    def shown(self) -> str | None:
        """The value as TOML, shortened; None where it must not be shown or is a table or array."""
        if self.written is not None:
            return shortened(self.written)
        return None if self.secret or isinstance(self.raw, dict | list) else shortened(render_value(self.raw))

    @property
    def found(self) -> str:
        """What stands there, in words: "the string `"3"`"."""
        if self.written is not None:
            return f"what `{shortened(self.written)}` gives"
        return _type_name(self.raw) if self.shown is None else f"the {_type_name(self.raw, '')} `{self.shown}`"


def render_value(value: Any) -> str:
    """Write a value as TOML, in one line."""
    if isinstance(value, dict):
        items = ", ".join(f"{name} = {render_value(item)}" for name, item in value.items())
        return f"{{ {items} }}" if items else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(render_value, value))}]"
    if isinstance(value, str | bool | int):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def shortened(text: str) -> str:
    """Give a text in one line of at most 60 characters."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "..."


def _type_name(raw: Any, article: str = "a ") -> str:
    names: list[tuple[Any, str]] = [
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (list, "array"),
        (dict, "table"),
        (datetime | date | time, "date"),
    ]
    name = next(name for types, name in names if isinstance(raw, types))
    return f"{'an ' if article and name[0] in 'ai' else article}{name}"
