"""What a user is told about a value that pydantic refused.

One function for each group of pydantic's error types gives code, message and hint. None of
them shows a value that came out of a reference or belongs to a secret: `values.Value` decides.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dagflow.config.hints import parse_hint, quoting_hint, unit_hint
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
    """Word one of pydantic's errors, other than one of type."""
    worded = _WORDED.get(error["type"])
    return _refused(error, value) if worded is None else worded(error.get("ctx", {}), value)


def wrong_type(expected: list[str], value: Value) -> Message:
    """Word a value that has none of the expected types."""
    wanted = " or ".join(dict.fromkeys(expected))
    return Message("wrong-type", f"`{value.name}` is {value.found}, expected {wanted}", quoting_hint(wanted, value))


def _wrong_unit(unit: str) -> _Worded:
    def worded(context: Mapping[str, Any], value: Value) -> Message:
        text = f"`{value.name}` is {value.found}, {context['reason']}"
        return Message("wrong-unit", text, unit_hint(value, unit))

    return worded


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


def _not_loopback(context: Mapping[str, Any], value: Value) -> Message:
    text = f"`{value.name}` is {value.found}, which other machines may reach; expected an address of this one"
    hint = "write `127.0.0.1:PORT`, and let others in through a tunnel (`ssh -L`) or a reverse proxy on this machine"
    return Message("admin-beyond-machine", text, hint)


def _unparsable(code: str) -> _Worded:
    def worded(context: Mapping[str, Any], value: Value) -> Message:
        text = f"the {context['what']} in `{value.name}` does not parse"
        if value.secret or value.written is not None:
            return Message(code, text)
        reason = context["reason"].rstrip(".")
        return Message(
            code, f"{text}: {reason[:1].lower()}{reason[1:]}", parse_hint(context["what"], reason, value.raw)
        )

    return worded


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
    "not_loopback": _not_loopback,
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
