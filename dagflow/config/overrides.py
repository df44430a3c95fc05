"""Overrides: `--set stages.inference.concurrency=16` replaces a value before anything is checked.

The key is a TOML key in which numbers count the elements of arrays; the value is read as
TOML, and as a string where it is none.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import Any

from dagflow.config.keys import Key, render_key


@dataclass(frozen=True, slots=True)
class Override:
    """One `--set`: the key as typed, where it leads, the value's text, and the outermost key that it made."""

    typed: str
    key: Key
    text: str
    made: Key

    def render(self, text: str | None = None) -> str:
        """Give the option as the user typed it, or with another value."""
        return f"--set {self.typed}={self.text if text is None else text}"


def parse_override(text: str) -> tuple[str, list[str], str]:
    """Split `a.b=VALUE` into `a.b`, its names and `VALUE`.

    Raises:
        ValueError: it does not have this form.
    """
    typed, equals, value = text.partition("=")
    if not equals or not typed.strip():
        raise ValueError(f"`{text}` does not have the form KEY=VALUE, such as `stages.inference.concurrency=16`")
    try:
        here: Any = tomllib.loads(f"{typed} = 0")
    except tomllib.TOMLDecodeError:
        raise ValueError(f"`{typed}` is not a key of names joined by dots, such as `stages.inference.type`") from None
    names = []
    while isinstance(here, dict):
        name, here = next(iter(here.items()))
        names.append(name)
    return typed.strip(), names, value


def apply_override(tables: dict[str, Any], override: str) -> Override:
    """Set one value in `tables`.

    Raises:
        ValueError: it has a wrong form, or its key leads nowhere.
    """
    typed, names, text = parse_override(override)
    here: Any = tables
    key: Key = ()
    made: Key | None = None
    for depth, name in enumerate(names, 1):
        part = _part(here, name, key)
        key += (part,)
        if made is None and isinstance(here, dict) and part not in here:
            made = key
        if depth == len(names):
            here[part] = _value(text)
        elif isinstance(here, dict):
            here = here.setdefault(part, {})
        else:
            here = here[part]
    return Override(typed, key, text, made or key)


def _part(here: Any, name: str, key: Key) -> str | int:
    if isinstance(here, dict):
        return name
    if not isinstance(here, list):
        raise ValueError(f"`{render_key(key)}` is a plain value, so that nothing can be set below it")
    if not name.isdecimal():
        raise ValueError(f"`{render_key(key)}` is an array; name an element by its position, from 0 on")
    if int(name) >= len(here):
        raise ValueError(f"`{render_key(key)}` has {len(here)} elements, counted from 0; there is no number {name}")
    return int(name)


def _value(text: str) -> Any:
    try:
        read = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return read["value"] if len(read) == 1 else text
