"""Payload: the fields of a record as JSON text, and back. Nothing is pickled.

A `Completion` comes back as one. What JSON cannot carry is kept as text, for people to read, and
its field is named: a record with such a field is not what it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from dagflow.completion import Completion

_to_json: Final = json.JSONEncoder().encode
_TAG: Final = "$dagflow"  # the key of an object that stands for something else


def pack(fields: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Give the text of some fields, and the names of those that are kept as text only."""
    try:
        return _to_json({str(name): _carried(value) for name, value in fields.items()}), []
    except Exception:  # it is no JSON, or of a class from elsewhere that fails in a way of its own
        return _packed_one_by_one(fields)


def unpack(text: str) -> dict[str, Any]:
    """Give the fields that `pack` made a text of."""
    return _from_json(text)


def _packed_one_by_one(fields: Mapping[str, Any]) -> tuple[str, list[str]]:
    parts, as_text = [], []
    for name, value in fields.items():
        try:
            text = _to_json(_carried(value))
        except Exception:  # it is no JSON, or of a class from elsewhere that fails in a way of its own
            text = _to_json(_described(value))
            as_text.append(str(name))
        parts.append(f"{_to_json(str(name))}: {text}")
    return "{" + ", ".join(parts) + "}", as_text


def _carried(value: Any) -> Any:
    """Give what stands for a value in JSON.

    Raises:
        TypeError: nothing does.
    """
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Completion):
        return _carried_completion(value)
    if isinstance(value, list | tuple):
        return [_carried(item) for item in value]
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise TypeError
    carried = {name: _carried(item) for name, item in value.items()}
    return {_TAG: "object", "items": list(carried.items())} if _TAG in carried else carried


def _carried_completion(completion: Completion) -> dict[str, Any]:
    if completion.is_live or completion.error is not None:
        raise TypeError
    return {_TAG: "completion", **completion.as_dict()}


def _restored(found: dict[str, Any]) -> Any:
    match found.pop(_TAG, None):
        case "completion":
            return Completion.from_dict(found)
        case "object":
            return dict(found["items"])
    return found


def _described(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # a class from elsewhere may fail even at that
        return f"<{type(value).__name__}>"


_from_json: Final = json.JSONDecoder(object_hook=_restored).decode  # one for all: to make one costs more than to use it
