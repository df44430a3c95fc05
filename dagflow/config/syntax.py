"""Syntax: what tomllib says about text that is no TOML, with what to do about it.

Message and position are tomllib's own. The hint comes from what stands at the position.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from dagflow.config.diagnostics import Diagnostic, diagnose
from dagflow.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def parse_toml(text: str, path: Path | None) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ConfigError: it is none; with one diagnostic, since the rest cannot be read.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        finding = _diagnostic(str(error), text)
        raise ConfigError([replace(finding, path=None if path is None else str(path))]) from None


def _diagnostic(message: str, text: str) -> Diagnostic:
    reason, _, where = message.rpartition(" (at ")
    lines = text.split("\n")
    numbers = [int(number) for number in re.findall(r"\d+", where)]
    line, column = numbers if len(numbers) == 2 else (len(lines), len(lines[-1]) + 1)
    source = lines[line - 1].rstrip("\r")
    words, hint = _repeated_table(reason) or (reason, _hint(reason, source, column))
    finding = diagnose("toml-syntax", words[:1].lower() + words[1:], hint=hint)
    return replace(finding, line=line, column=column, source_line=source)


def _repeated_table(reason: str) -> tuple[str, str] | None:
    again = re.fullmatch(r"Cannot declare \((.*?),?\) twice", reason)
    if again is None:
        return None
    name = ".".join(part.strip("' ") for part in again[1].split(","))
    return f"table `{name}` stands twice", "merge the two, or give one another name"


_HINTS: Final = {
    "Unescaped '\\' in a string": "write `\\\\`, or put the text in single quotes",
    "Invalid hex value": "write `\\\\`, or put the text in single quotes",
    "Expected '=' after a key": "a key is followed by `=` and its value",
    "Illegal character '\\n'": 'close the quote, or use three quotes (""") for text of several lines',
    "Unclosed array": "close the array with `]`, and put a comma between its elements",
    "Expected newline or end of document": "put text in quotes, and each key on a line of its own",
}
"""Hints that do not depend on what stands there, by how tomllib's message begins."""


def _hint(reason: str, source: str, column: int) -> str | None:
    rest = source[column - 1 :].strip()
    if reason.startswith("Expected newline") and rest.startswith(","):
        return "remove the comma: only the elements of arrays and inline tables are separated by commas"
    if reason.startswith("Invalid statement") and rest.startswith("{"):
        return "a pipeline file is TOML, not JSON; `dagflow init` writes one to begin with"
    if reason.startswith("Invalid value"):
        return _value_hint(source, rest)
    if reason.startswith("Cannot overwrite a value"):
        header = re.match(r"\s*\[+(\w+)", source)
        if header is None:
            return "the same key stands twice in this table; remove one"
        return f"`{header[1]}` stands for something else already; named tables are `[{header[1]}.NAME]`"
    if reason.startswith("Invalid initial character for a key") and "{" in source and (not rest or rest[0] in "}#"):
        return "an inline table `{ ... }` stands on one line, without a comma at its end"
    return next((hint for start, hint in _HINTS.items() if reason.startswith(start)), None)


def _value_hint(source: str, rest: str) -> str:
    curly = re.match(r"[“”„‘’]([^“”‘’]*)", rest)
    if curly is not None:
        return f'write straight quotes: `"{curly[1]}"`'
    word = re.match(r"[A-Za-z_][\w./-]*", rest)
    if source.lstrip().startswith("["):
        return "an array above is not closed: it lacks its `]`"
    if word is None:
        return "a value is text in quotes, a number, `true`, `false`, an array or a table"
    if word[0].lower() in ("true", "false"):
        return f"write `{word[0].lower()}`"
    if word[0].lower() in ("null", "none", "nil"):
        return "TOML has no null: leave the key out"
    return f'put text in quotes: `"{word[0]}"`'
