"""From keys to lines: gives diagnostics their places, and keeps secrets out of what they show."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dagflow.config.keys import is_under, value_at
from dagflow.config.places import Places
from dagflow.config.references import MASK, literals

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagflow.config.diagnostics import Diagnostic
    from dagflow.config.document import Document


def locate(diagnostics: Iterable[Diagnostic], document: Document) -> list[Diagnostic]:
    """Add path, line and column to each, and sort by place; secrets of the document are masked."""
    places = Places(document.text)
    located = [_located(diagnostic, document, places) for diagnostic in diagnostics]
    return sorted(located, key=lambda d: (d.line or 0, d.column or 0))


_IN_PLUGIN_WORDS: Final = {"invalid-option", "broken-plugin"}


def _located(diagnostic: Diagnostic, document: Document, places: Places) -> Diagnostic:
    if diagnostic.code in _IN_PLUGIN_WORDS:
        diagnostic = replace(diagnostic, message=_masked_text(diagnostic.message, document))
    override = document.override_of(diagnostic.key)
    if override is not None:
        secret = any(is_under(key, override.key) for key in document.secrets)
        return replace(diagnostic, path=override.render(MASK if secret else override.text))
    span = places.find(diagnostic.key, diagnostic.at)
    if span is None:
        return replace(diagnostic, path=document.shown_path)
    others = [places.find(key) for key in diagnostic.others]
    return replace(
        diagnostic,
        path=document.shown_path,
        line=span.line,
        column=span.column,
        width=span.width,
        source_line=_masked_line(span.line, document, places),
        other_lines=tuple(other.line for other in others if other is not None),
    )


def _masked_text(text: str, document: Document) -> str:
    # The longest first: a secret may be part of another.
    for secret in sorted(filter(None, document.secrets.values()), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def _masked_line(number: int, document: Document, places: Places) -> str:
    """Give the line with stars over the secrets that stand in it, so that columns stay."""
    line = places.line(number)
    for key in document.secrets:
        span = places.find(key)
        written = str(value_at(document.written, key))
        if span is not None and span.line == number and literals(written):
            start = span.column - 1
            line = line[:start] + "*" * span.width + line[start + span.width :]
    return line
