"""Document: one file's tables, as written and with references replaced.

Reading stops at the first thing that makes the rest unreadable; from there on, findings are
collected. A document knows where each of its values came from, and what must not be shown.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagflow.config.diagnostics import Diagnostic, diagnose
from dagflow.config.keys import is_under, value_at
from dagflow.config.overrides import Override, apply_override
from dagflow.config.references import resolve
from dagflow.config.syntax import parse_toml
from dagflow.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagflow.config.keys import Key


@dataclass(slots=True)
class Document:
    """The parsed file.

    Attributes:
        path: the file as the user named it; None for text from elsewhere.
        text: its text.
        written: the tables with overrides applied and references as they stand.
        tables: the same with references replaced.
        substituted: for each value that held a reference: its text in the file.
        overrides: the `--set`s that were applied.
        diagnostics: references that lead nowhere.
        secrets: what must not be shown, by its key; grows as options are read.
    """

    path: Path | None
    text: str
    written: dict[str, Any]
    tables: dict[str, Any]
    substituted: Mapping[Key, str]
    overrides: Sequence[Override]
    diagnostics: list[Diagnostic]
    secrets: dict[Key, str] = field(default_factory=dict)

    @property
    def base(self) -> Path:
        """The directory that paths in the file are relative to."""
        return self.path.parent if self.path is not None else Path()

    @property
    def shown_path(self) -> str | None:
        """The file as the user named it."""
        return None if self.path is None else str(self.path)

    def table(self, *key: str) -> dict[str, Any]:
        """Give the table at `key`, empty where there is none."""
        value = value_at(self.tables, key)
        return value if isinstance(value, dict) else {}

    def override_of(self, key: Key) -> Override | None:
        """Give the last `--set` that the value at `key` came from, or else the one that made its table."""
        setting = [o for o in reversed(self.overrides) if is_under(key, o.key)]
        making = [o for o in self.overrides if is_under(key, o.made)]
        return next(iter(setting + making), None)


def read_text(path: Path) -> str:
    """Read a pipeline file.

    Raises:
        ConfigError: it is missing, is no file, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = "it does not exist" if isinstance(error, FileNotFoundError) else (error.strerror or str(error)).lower()
    except UnicodeDecodeError as error:
        reason = f"byte {error.start} is not UTF-8; TOML files are UTF-8 text"
    finding = diagnose("unreadable-file", f"`{path}` cannot be read: {reason}")
    raise ConfigError([replace(finding, path=str(path))])


def read_document(
    text: str, path: Path | None, overrides: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> Document:
    """Parse the text, apply overrides and replace references.

    Raises:
        ConfigError: it is not TOML, or an override is wrong.
    """
    tables = parse_toml(text, path)
    applied = [_overridden(tables, override) for override in overrides]
    base = path.parent if path is not None else Path()
    resolution = resolve(tables, os.environ if environ is None else environ, base)
    return Document(path, text, tables, resolution.tables, resolution.written, applied, resolution.diagnostics)


def _overridden(tables: dict[str, Any], override: str) -> Override:
    try:
        return apply_override(tables, override)
    except ValueError as error:
        typed = override.partition("=")[0]  # the value may be a secret, and is not at fault
        raise ConfigError([replace(diagnose("bad-override", str(error)), path=f"--set {typed}=...")]) from None
