"""What a user is told about a value that pydantic refused.

One function for each group of pydantic's error types gives code, message and hint. None of
them shows a value that came out of a reference or belongs to a secret: `values.Value` decides.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dagflow.config.suggest import closest, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dagflow.config.values import Value


class Message(NamedTuple):
    """Code, message and hint of a diagnostic to be."""

    code: str
    text: str
    hint: str | None = None


if TYPE_CHECKING:
    _Worded = Callable[[Mapping[str, Any], Value], Message]

EXPECTED: Final = {
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "`true` or `false`",
    "bool_parsing": "`true` or `false`",
    "string_type": "a string",
    "bytes_type": "a string",
    "path_type": "a string with a path",
    "list_type": "an array",
    "tuple_type": "an array",
    "set_type": "an array",
    "frozen_set_type": "an array",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dataclass_type": "a table",
    "datetime_type": "a date with time",
    "date_type": "a date",
    "time_type": "a time of day",
}
"""What pydantic's errors of type want."""


def message_for(error: Mapping[str, Any], value: Value) -> Message:
    """Word one of pydantic's errors."""
    kind = error["type"]
    if kind in EXPECTED:
        return wrong_type([EXPECTED[kind]], value)
    worded = _WORDED.get(kind)
    if worded is not None:
        return worded(error.get("ctx", {}), value)
    return _refused(error, value)


def wrong_type(expected: list[str], value: Value) -> Message:
    """Word a value that has none of the expected types."""
    wanted = " or ".join(dict.fromkeys(expected))
    return Message("wrong-type", f"`{value.name}` is {value.found}, expected {wanted}", _quoting_hint(wanted, value))


def _quoting_hint(wanted: str, value: Value) -> str | None:
    raw, shown = value.raw, value.shown
    if shown is None or value.written is not None:
        return None
    if isinstance(raw, str) and wanted in ("an integer", "a number", "`true` or `false`"):
        pattern = {"an integer": r"-?\d+", "a number": r"-?\d+(\.\d+)?"}.get(wanted, "true|false")
        return f"write it without quotes: `{value.name} = {raw}`" if re.fullmatch(pattern, raw) else None
    if wanted == "a string" and not isinstance(raw, str):
        return f'write it in quotes: `{value.name} = "{shown}"`'
    return f"write it in brackets: `{value.name} = [{shown}]`" if wanted == "an array" else None


def _wrong_unit(unit: str) -> _Worded:
    def worded(context: Mapping[str, Any], value: Value) -> Message:
        text = f"`{value.name}` is {value.found}, {context['reason']}"
        return Message("wrong-unit", text, _unit_hint(value, unit))

    return worded


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


def _unit_hint(value: Value, usual: str) -> str | None:
    match = re.fullmatch(r'"?\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*"?', value.shown or "")
    if match is None or value.written is not None:
        return None
    number, unit = match.groups()
    if not unit:
        return f'write the unit with it, such as `{value.name} = "{number}{usual}"`'
    right = _UNITS.get(unit.lower())
    return f'did you mean `{value.name} = "{number}{right}"`?' if right else None


def _not_among(context: Mapping[str, Any], value: Value) -> Message:
    expected = re.findall(r"'([^']*)'", context["expected"])
    among = _listed([f"`{name}`" for name in expected]) or context["expected"]
    text = f"`{value.name}` is {value.found}, expected {among}"
    known = isinstance(value.raw, str) and not value.secret and value.written is None
    return Message("wrong-value", text, did_you_mean(value.raw, expected) if known else None)


def _bound(words: str, name: str) -> _Worded:
    def worded(context: Mapping[str, Any], value: Value) -> Message:
        return Message("out-of-range", f"`{value.name}` is {value.found}, expected {words} {context[name]}")

    return worded


def _length(words: str, name: str, noun: str) -> _Worded:
    def worded(context: Mapping[str, Any], value: Value) -> Message:
        count = context[name]
        return Message("out-of-range", f"`{value.name}` needs {words} {count} {noun}{'' if count == 1 else 's'}")

    return worded


def _unparsable(code: str) -> _Worded:
    def worded(context: Mapping[str, Any], value: Value) -> Message:
        text = f"the {context['what']} in `{value.name}` does not parse"
        if value.secret or value.written is not None:
            return Message(code, text)
        reason = context["reason"].rstrip(".")
        return Message(code, f"{text}: {reason[:1].lower()}{reason[1:]}", _parse_hint(reason, value.raw))

    return worded


# What other languages write, and what Jinja does.
_OPERATORS: Final = {r"&&": "and", r"\|\|": "or", r"(?<![=!<>])=(?!=)": "==", r"!(?!=)": "not"}


def _parse_hint(reason: str, text: str) -> str | None:
    from jinja2.defaults import DEFAULT_FILTERS, DEFAULT_TESTS

    unknown = re.match(r"No (filter|test) named '(.*)'", reason)
    if unknown:
        return did_you_mean(unknown[2], DEFAULT_FILTERS if unknown[1] == "filter" else DEFAULT_TESTS)
    right = next((right for wrong, right in _OPERATORS.items() if re.search(wrong, text)), None)
    return f"write `{right}`; conditions are Jinja expressions" if right and "{" not in text else None


def _unknown_tag(context: Mapping[str, Any], value: Value) -> Message:
    name, tag = context["discriminator"].strip("'"), context["tag"]
    expected = re.findall(r"'([^']*)'", context["expected_tags"])
    text = f"`{value.name}.{name}` is `{tag}`, expected {_listed([f'`{tag}`' for tag in expected])}"
    return Message("wrong-value", text, did_you_mean(tag, expected))


def _missing_tag(context: Mapping[str, Any], value: Value) -> Message:
    return Message("missing-option", f"`{value.name}` needs `{context['discriminator'].strip(chr(39))}`")


def _refused(error: Mapping[str, Any], value: Value) -> Message:
    """Use the words of the plugin, or of pydantic where it has a message that names no value."""
    raised = error.get("ctx", {}).get("error")
    reason = str(raised) if raised is not None else error["msg"].replace("Input should be", "expected")
    reason = reason[:1].lower() + reason[1:] if reason[1:2].islower() else reason
    return Message("invalid-option", f"`{value.name}` is not accepted: {reason}" if value.name else reason)


_WORDED: Final[dict[str, _Worded]] = {
    "bad_duration": _wrong_unit("s"),
    "bad_size": _wrong_unit("MiB"),
    "bad_rate": _wrong_unit("/s"),
    "bad_expression": _unparsable("bad-expression"),
    "bad_template": _unparsable("bad-template"),
    "literal_error": _not_among,
    "enum": _not_among,
    "union_tag_invalid": _unknown_tag,
    "union_tag_not_found": _missing_tag,
    "greater_than": _bound("more than", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("less than", "lt"),
    "less_than_equal": _bound("at most", "le"),
    "too_short": _length("at least", "min_length", "element"),
    "too_long": _length("at most", "max_length", "element"),
    "string_too_short": _length("at least", "min_length", "character"),
    "string_too_long": _length("at most", "max_length", "character"),
}


def unknown_key(where: str, name: str, names: set[str] | frozenset[str], elsewhere: str | None) -> Message:
    """Word a key that nobody knows; `elsewhere` is where a key of this name belongs."""
    hint = did_you_mean(name, names)
    if hint is None and elsewhere:
        hint = f"`{name}` belongs to {elsewhere}"
    return Message("unknown-key", f"{where} has no key `{name}`", hint)


def near_secret(name: str, names: set[str], secrets: set[str]) -> bool:
    """Whether an unknown key may be a misspelt secret, so that its value must not be shown."""
    return closest(name, names) in secrets


def _listed(items: list[str]) -> str:
    return f"{', '.join(items[:-1])} or {items[-1]}" if len(items) > 1 else "".join(items)
