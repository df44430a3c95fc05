"""Compile: the one path from TOML text to a Plan, or to everything that is wrong with the text.

`run`, `validate`, `graph` and `show` all come through here, so that what validates, starts.
Nothing is opened and nothing is started.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dagflow.config.diagnostics import Diagnostic, has_errors
from dagflow.config.document import Document, read_document, read_text
from dagflow.config.keys import is_under
from dagflow.config.layout import check_layout
from dagflow.errors import ConfigError
from dagflow.graph.advice import advise
from dagflow.graph.build import build_draft, build_plan
from dagflow.graph.check import check_graph
from dagflow.graph.fields import check_fields, trace_fields
from dagflow.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagflow.graph.draft import Draft
    from dagflow.graph.plan import Plan


def compile_file(
    path: str | Path,
    overrides: Sequence[str] = (),
    registry: Registry | None = None,
    environ: Mapping[str, str] | None = None,
) -> Plan:
    """Compile a pipeline file.

    Args:
        overrides: `KEY=VALUE` each, as for `--set`.
        registry: the plugins to use; those that are installed by default.
        environ: the variables for `${env:NAME}`; those of the process by default.

    Raises:
        ConfigError: with every error and warning.
    """
    return compile_text(read_text(Path(path)), Path(path), overrides, registry, environ)


def compile_text(
    text: str,
    path: Path | None = None,
    overrides: Sequence[str] = (),
    registry: Registry | None = None,
    environ: Mapping[str, str] | None = None,
) -> Plan:
    """Compile TOML text; `path` is where it is said to come from, and what its paths are relative to.

    Raises:
        ConfigError: with every error and warning.
    """
    document = read_document(text, path, overrides, environ)
    draft, diagnostics = build_draft(document, registry or Registry())
    diagnostics = _located([*check_layout(document), *diagnostics, *_checked(draft, document)], document)
    if has_errors(diagnostics):
        raise ConfigError(diagnostics)
    return replace(build_plan(draft, document, diagnostics), text=text, overrides=tuple(overrides))


def locate_findings(diagnostics: list[Diagnostic], path: Path, overrides: Sequence[str] = ()) -> list[Diagnostic]:
    """Give places in a file that compiles to what was found out about it later."""
    return _located(diagnostics, read_document(read_text(path), path, overrides, None))


def _checked(draft: Draft, document: Document) -> list[Diagnostic]:
    flow = trace_fields(draft)
    wrong = [] if flow is None else check_fields(draft, flow)
    return [*check_graph(draft), *wrong, *advise(draft, document, flow)]


def _located(diagnostics: list[Diagnostic], document: Document) -> list[Diagnostic]:
    """Give places to all but those that only follow from a reference that leads nowhere."""
    lost = [diagnostic.key for diagnostic in document.diagnostics]
    real = [d for d in diagnostics if not any(is_under(d.key, key) for key in lost)]
    if not real and not lost:
        return []
    from dagflow.config.locate import locate  # with tree-sitter, which a file without findings does not need

    return locate([*document.diagnostics, *real], document)
