"""References: `${env:NAME}`, `${env:NAME:-default}` and `${file:PATH}` in string values.

They are replaced after parsing, in values only; what comes in is not looked at again, so that
a variable can hold any text. `$${` stands for `${`. A `${` before anything but a word is text:
templates may say `${{ price }}`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dagflow.config.diagnostics import Diagnostic, diagnose
from dagflow.config.suggest import did_you_mean
from dagflow.config.values import shortened

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dagflow.config.keys import Key

_REFERENCE: Final = re.compile(
    r"(?P<escape>\$\$\{)"
    r"|\$\{env:(?P<env>[A-Za-z_]\w*)(?::-(?P<default>[^}]*))?\}"
    r"|\$\{file:(?P<file>[^}]+)\}"
    r"|(?P<bad>\$\{\s*\w+\s*(?:\}|:[^}]*(?:\}|$)|$))"
)
PATTERN: Final = r"\$\{(env|file):"
"""Found in every string that holds a reference; for the JSON Schema."""
MASK: Final = "*" * 10


def has_reference(text: str) -> bool:
    """Whether something would be replaced in the text."""
    return any(match["escape"] is None for match in _REFERENCE.finditer(text))


def mask_literals(text: str) -> str:
    """Give a secret as it may be shown: its references stay, defaults and texts without reference do not."""
    if not has_reference(text):
        return MASK
    return _REFERENCE.sub(lambda m: f"${{env:{m['env']}:-{MASK}}}" if m["default"] else m[0], text)


def literals(text: str) -> set[str]:
    """Give the parts of a secret's text that give it away: all of it, or the defaults of its references."""
    defaults = {match["default"] for match in _REFERENCE.finditer(text)}
    return {part for part in (defaults if has_reference(text) else {text}) if part}


@dataclass(slots=True)
class Resolution:
    """What became of the references of a file.

    Attributes:
        tables: the tables with references replaced.
        written: the text in the file, for each value that held a reference.
        diagnostics: the references that lead nowhere; their values are as in the file.
    """

    tables: Any = None
    written: dict[Key, str] = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)


def resolve(tables: Mapping[str, Any], environ: Mapping[str, str], base: Path) -> Resolution:
    """Replace all references; `base` is the directory that files are relative to."""
    resolution = Resolution()
    resolution.tables = _Resolver(environ, base, resolution).resolved(tables, ())
    return resolution


class _Lost(Exception):
    """A reference leads nowhere; carries code, message and hint."""


class _Resolver:
    def __init__(self, environ: Mapping[str, str], base: Path, resolution: Resolution) -> None:
        self._environ = environ
        self._base = base
        self._resolution = resolution

    def resolved(self, value: Any, key: Key) -> Any:
        if isinstance(value, dict):
            return {name: self.resolved(item, (*key, name)) for name, item in value.items()}
        if isinstance(value, list):
            return [self.resolved(item, (*key, index)) for index, item in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            return self._replaced(value, key)
        return value

    def _replaced(self, text: str, key: Key) -> str:
        def replacement(match: re.Match[str]) -> str:
            try:
                return self._value(match)
            except _Lost as lost:
                code, message, hint = lost.args
                self._resolution.diagnostics.append(diagnose(code, message, key, hint=hint))
                return match[0]

        if has_reference(text):
            self._resolution.written[key] = text
        return _REFERENCE.sub(replacement, text)

    def _value(self, match: re.Match[str]) -> str:
        if match["escape"]:
            return "${"
        if match["bad"]:
            raise _Lost("bad-reference", f"`{shortened(match['bad'])}` is no reference", _correction(match["bad"]))
        if match["file"]:
            return self._content(match["file"])
        return self._variable(match["env"], match["default"])

    def _variable(self, name: str, default: str | None) -> str:
        value = self._environ.get(name)
        if default is not None:
            return value or default  # as in a shell: an empty variable gives the default too
        if value is None:
            near = did_you_mean(name, self._environ)
            hint = near or f"set it, or give a default: `${{env:{name}:-default}}`"
            raise _Lost("unset-variable", f"environment variable `{name}` is not set", hint)
        return value

    def _content(self, path: str) -> str:
        try:
            text = (self._base / path).read_text(encoding="utf-8")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
        except ValueError:
            reason = "it is not UTF-8 text"
        else:
            return text.removesuffix("\n").removesuffix("\r")
        hint = None if path.startswith("/") else "paths are relative to the file that contains them"
        raise _Lost("unreadable-reference", f"file `{path}` cannot be read: {reason}", hint)


def _correction(reference: str) -> str:
    literal = "`$${` stands for the text `${`"
    if not reference.endswith("}"):
        return f"it has no closing `}}`; {literal}"
    kind, colon, rest = reference[2:-1].partition(":")
    kind, rest = kind.strip(), rest.strip()
    if not colon:
        return f"write `${{env:{kind}}}` for an environment variable; {literal}"
    if kind.lower() in ("env", "file") and re.fullmatch(r"[A-Za-z_]\w*", rest):
        return f"write `${{{kind.lower()}:{rest}}}`"
    return f"write `${{env:NAME}}`, `${{env:NAME:-default}}` or `${{file:PATH}}`; {literal}"
