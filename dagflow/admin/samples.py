"""Samples as readers get them: names and sizes of fields, or values in which what is known to be private is replaced.

Values go through the plan's redactor, and through the patterns of stage `post` for what identifies a person; long
texts are cut after that. What cannot be told without reading it, such as a live stream, is told as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from dagflow.completion import Completion
from dagflow.engine.taps import Asked, Passed
from dagflow.stages.pii import KINDS, LONGEST, find_pii, redact

if TYPE_CHECKING:
    from dagflow.redaction import Redactor

LONGEST_TEXT: Final = 2000
"""Characters of a text that are shown."""

_REPLACEMENTS: Final = {kind: f"[{kind}]" for kind in KINDS}
_PLAIN: Final = ("finish_reason", "model", "usage", "worker", "shared", "vectors")
"""What is told of every answer: nothing of it is what somebody wrote."""
_MOST_ITEMS: Final = 50  # of a list or an object
_DEEPEST: Final = 6


class Describer:
    """Says samples as JSON-like values.

    Args:
        payload: whether values are shown, or only names and sizes.
        fields: which ones; all if it is empty.
    """

    def __init__(self, redactor: Redactor, payload: bool, fields: frozenset[str] = frozenset()) -> None:
        self._redactor = redactor
        self._payload = payload
        self._fields = fields

    def describe(self, sample: Passed | Asked) -> dict[str, Any]:
        """Give a sample: an edge's has `edge`, `record` and `fields`, a worker's `worker`, `sent` and `answered`."""
        if isinstance(sample, Passed):
            record = sample.record
            return {
                "time": sample.time,
                "edge": sample.edge,
                "record": self._text(record.id),
                "fields": self._shown(record),
            }
        return {
            "time": sample.time,
            "worker": sample.worker,
            "duration_s": sample.duration_s,
            "sent": self._shown(_sent(sample.sent)),
            "answered": self._shown(sample.answered) | _plain(sample.answered),
            "error": None if sample.error is None else self._redactor.redact(sample.error),
        }

    def _shown(self, values: Mapping[str, Any]) -> dict[str, Any]:
        show = self._told if self._payload else size_of
        return {self._text(name): show(value) for name, value in values.items() if self._fields_have(name)}

    def _fields_have(self, name: str) -> bool:
        return not self._fields or name in self._fields

    def _told(self, value: Any) -> Any:
        try:
            return self._value(value)
        except Exception:  # an object of a plugin need not be text, and a number may be too long for one
            return size_of(value)

    def _value(self, value: Any, depth: int = 0) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if value is None or isinstance(value, bool | int | float):
            shown = self._text(str(value))
            return value if shown == str(value) else shown
        if isinstance(value, Completion):
            value = {"live": True} if value.is_live else value.as_dict()
        if depth >= _DEEPEST:
            return size_of(value)
        if isinstance(value, Mapping):
            items = list(value.items())[:_MOST_ITEMS]
            return {self._text(str(name)): self._value(item, depth + 1) for name, item in items}
        if isinstance(value, list | tuple):
            return [self._value(item, depth + 1) for item in value[:_MOST_ITEMS]]
        return self._text(str(value))

    def _text(self, text: str) -> str:
        text = self._redactor.redact(text)
        start = text[: LONGEST_TEXT + LONGEST]  # what begins before the cut is found whole
        across = (first for first, behind, _ in find_pii(start, tuple(KINDS)) if first < LONGEST_TEXT < behind)
        end = min(LONGEST_TEXT, len(start), *across) if len(text) > LONGEST_TEXT else len(text)
        clean = redact(start, _REPLACEMENTS, 0, end)
        return clean if end == len(text) else f"{clean}…"


def size_of(value: Any) -> str:
    """Say what a value is, and how much of it there is, and nothing of what it says."""
    if isinstance(value, str):
        return f"text of {len(value):,} characters"
    if isinstance(value, Completion):
        return "live answer" if value.is_live else f"answer of {len(value.text):,} characters"
    if isinstance(value, Mapping):
        return f"object of {len(value):,}"
    if isinstance(value, list | tuple):
        return f"list of {len(value):,}"
    return (
        "nothing"
        if value is None
        else {"bool": "yes or no", "int": "number", "float": "number"}.get(type(value).__name__, type(value).__name__)
    )


def _plain(answered: Mapping[str, Any]) -> dict[str, Any]:
    return {name: answered[name] for name in _PLAIN if name in answered}


def _sent(sent: Any) -> dict[str, Any]:
    if not hasattr(sent, "parameters"):
        return {"texts": list(sent)}
    names = ("model", "prompt", "messages", "parameters")
    return {name: value for name in names if (value := getattr(sent, name))}
