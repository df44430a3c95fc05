"""Diagnostics: findings about a file, and their three renderings.

A diagnostic is made with the key that it is about; `places.py` adds the place when it is
shown. It never holds a secret: who makes it leaves values of secret options out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from dagflow.config.codes import CODES, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dagflow.config.keys import Key

SHOWN_CHARACTERS: Final = 100


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding about a file.

    Attributes:
        code: stands in `codes.CODES`.
        key: the value that it is about; () for the file as a whole.
        path: the file as the user named it, or the `--set ...` that the value came from.
        line, column: 1-based, in characters; None where there is no such place.
        source_line, width: the line of the file, and how many characters of it are meant.
        at: whether the key's name or its value is meant.
        others: further values that belong to it, such as the other edges of a cycle.
        other_lines: where those are.
    """

    code: str
    severity: Severity
    message: str
    key: Key = ()
    path: str | None = None
    line: int | None = None
    column: int | None = None
    hint: str | None = None
    source_line: str | None = None
    width: int = 1
    at: Literal["key", "value"] = "value"
    others: tuple[Key, ...] = ()
    other_lines: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Give what `--format json` shows of it."""
        names = ("code", "severity", "message", "path", "line", "column", "hint")
        return {name: getattr(self, name) for name in names}


def diagnose(
    code: str,
    message: str,
    key: Key = (),
    *,
    hint: str | None = None,
    at: Literal["key", "value"] = "value",
    others: Sequence[Key] = (),
) -> Diagnostic:
    """Make a diagnostic that still lacks its place; the severity is that of the code."""
    return Diagnostic(code, CODES[code].severity, message, key, hint=hint, at=at, others=tuple(others))


def has_errors(diagnostics: Iterable[Diagnostic]) -> bool:
    """Whether any of them keeps the pipeline from running."""
    return any(d.severity == "error" for d in diagnostics)


def render_json(diagnostics: Iterable[Diagnostic]) -> str:
    """Give a JSON array with one object for each."""
    return json.dumps([d.as_dict() for d in diagnostics], indent=2, ensure_ascii=False)


def render_github(diagnostics: Iterable[Diagnostic]) -> str:
    """Give one workflow command for each, which GitHub shows beside the line."""
    return "\n".join(_annotation(d) for d in diagnostics)


def render_text(diagnostics: Iterable[Diagnostic], *, colour: bool = False) -> str:
    """Give one block for each: what, where, the line of the file, and what to do."""
    return "\n\n".join(_block(_printable(d), colour) for d in diagnostics)


def _annotation(diagnostic: Diagnostic) -> str:
    where = {"file": diagnostic.path, "line": diagnostic.line, "col": diagnostic.column, "title": diagnostic.code}
    if diagnostic.line is None:
        where = {"title": diagnostic.code}
    shown = ",".join(f"{name}={_escaped(str(value), ':,')}" for name, value in where.items())
    hint = f"\nhint: {diagnostic.hint}" if diagnostic.hint else ""
    return f"::{diagnostic.severity} {shown}::{_escaped(diagnostic.message + hint)}"


def _escaped(text: str, more: str = "") -> str:
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _block(diagnostic: Diagnostic, colour: bool) -> str:
    def paint(style: str, text: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if colour else text

    alarm = "1;31" if diagnostic.severity == "error" else "1;33"
    lines = [f"{paint(alarm, f'{diagnostic.severity}[{diagnostic.code}]')}: {diagnostic.message}"]
    lines.append(f"  {paint('34', '-->')} {_place(diagnostic)}")
    if diagnostic.source_line is not None and not diagnostic.other_lines:
        line, marker = _marked(diagnostic.source_line, diagnostic.column or 1, diagnostic.width)
        lines += [f"   {paint('34', '|')}  {line}", f"   {paint('34', '|')}  {paint(alarm, marker)}"]
    if diagnostic.hint:
        lines += ["", f"{paint('36', 'hint')}: {diagnostic.hint}"]
    return "\n".join(lines)


def _printable(diagnostic: Diagnostic) -> Diagnostic:
    """Replace control characters, which a file may hold in strings: they are not for the reader's terminal."""

    def clean(text: str | None) -> str | None:
        return text and "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in text)

    names = ("message", "path", "hint", "source_line")
    return replace(diagnostic, **{name: clean(getattr(diagnostic, name)) for name in names})


def _place(diagnostic: Diagnostic) -> str:
    path = diagnostic.path or "<text>"
    if diagnostic.line is None:
        return path
    if diagnostic.other_lines:
        lines = sorted({diagnostic.line, *diagnostic.other_lines})
        return f"{path}:{', '.join(map(str, lines))}"
    return f"{path}:{diagnostic.line}:{diagnostic.column}"


def _marked(line: str, column: int, width: int) -> tuple[str, str]:
    """Give the line without indentation, at most `SHOWN_CHARACTERS` of it, and carets under the meant part."""
    start, end = column - 1, len(line.rstrip())
    first = min(start, len(line) - len(line.lstrip()))
    before = after = ""
    if end - first > SHOWN_CHARACTERS:
        cut = max(first, start - SHOWN_CHARACTERS // 2)
        before = "..." if cut > first else ""
        after = "..." if end > cut + SHOWN_CHARACTERS else ""
        first, end = cut, min(end, cut + SHOWN_CHARACTERS)
    pad = "".join("\t" if c == "\t" else " " * _cells(c) for c in before + line[first:start])
    meant = line[start : min(start + width, end)]
    return before + line[first:end] + after, pad + "^" * max(1, sum(map(_cells, meant)))


def _cells(character: str) -> int:
    from unicodedata import combining, east_asian_width

    if combining(character):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1
