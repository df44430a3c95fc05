"""Hints about wrong values: what to write instead, where that is certain.

None is given for a value that must not be shown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dagflow.config.suggest import did_you_mean

if TYPE_CHECKING:
    from dagflow.config.values import Value


def quoting_hint(wanted: str, value: Value) -> str | None:
    """Tell of quotes or brackets that are too many or too few."""
    raw, shown = value.raw, value.shown
    if shown is None or value.written is not None:
        return None
    if isinstance(raw, str) and wanted in ("an integer", "a number", "`true` or `false`"):
        pattern = {"an integer": r"-?\d+", "a number": r"-?\d+(\.\d+)?"}.get(wanted, "true|false")
        return f"write it without quotes: `{value.name} = {raw}`" if re.fullmatch(pattern, raw) else None
    if wanted == "a string" and not isinstance(raw, str):
        return f'write it in quotes: `{value.name} = "{shown}"`'
    return f"write it in brackets: `{value.name} = [{shown}]`" if wanted == "an array" else None


# What people write for a unit, and what it is called here.
_UNITS: Final = {
    **dict.fromkeys(("m", "mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("msec", "msecs", "millis", "milliseconds"), "ms"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("day", "days"), "d"),
    **{unit.lower(): unit for unit in ("KB", "MB", "GB", "KiB", "MiB", "GiB")},
    "bytes": "B",
}


def unit_hint(value: Value, usual: str) -> str | None:
    """Tell what a unit is called here, or that there is none; `usual` is the usual one."""
    match = re.fullmatch(r'"?\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*"?', value.shown or "")
    if match is None or value.written is not None:
        return None
    number, unit = match.groups()
    if not unit:
        return f'write the unit with it, such as `{value.name} = "{number}{usual}"`'
    right = _UNITS.get(unit.lower())
    return f'did you mean `{value.name} = "{number}{right}"`?' if right else None


# What other languages write, and what Jinja does.
_OPERATORS: Final = {r"&&": "and", r"\|\|": "or", r"(?<![=!<>])=(?!=)": "==", r"!(?!=)": "not"}


def parse_hint(what: str, reason: str, text: str) -> str | None:
    """Help with a condition or template that does not parse; `reason` is Jinja's."""
    from jinja2.defaults import DEFAULT_FILTERS, DEFAULT_TESTS

    unknown = re.match(r"No (filter|test) named '(.*)'", reason)
    if unknown:
        return did_you_mean(unknown[2], DEFAULT_FILTERS if unknown[1] == "filter" else DEFAULT_TESTS)
    if text.strip().startswith("{{"):
        return "leave out `{{` and `}}`: a condition is a bare expression" if what == "condition" else None
    right = next((right for wrong, right in _OPERATORS.items() if re.search(wrong, text)), None)
    return f"write `{right}`; conditions are Jinja expressions" if right and what == "condition" else None
