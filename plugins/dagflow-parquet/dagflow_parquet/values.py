"""Values: between the cells of a table and the fields of a record."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, Final, Literal

from dagflow import Completion, Record, RecordError

ColumnType = Literal["text", "integer", "number", "boolean", "json"]


class NotJson(RecordError):
    """A cell holds what no field can hold."""

    code = "not-json"


class WrongValue(RecordError):
    """A field is not what its column takes."""

    code = "wrong-value"

    def __init__(self, column: str, type_name: str, value: object) -> None:
        super().__init__(f"column `{column}` takes {_TAKES[type_name]}, but not this `{type(value).__name__}`")


_TAKES: Final = {
    "text": "a text in UTF-8",
    "integer": "a whole number of 64 bits",
    "number": "a number",
    "boolean": "true or false",
    "json": "what JSON can hold",
}


def as_json(value: Any) -> Any:
    """Give a cell as a JSON-like value.

    Raises:
        NotJson: it has no such form.
    """
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, dict):
        return {str(name): as_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return _decoded(value)


def _decoded(value: Any) -> str:
    if not isinstance(value, bytes):
        raise NotJson(f"a cell is of type `{type(value).__name__}`, which JSON can't hold")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise NotJson("a cell holds bytes that are no UTF-8") from None


def cell_of(record: Record, column: str, type_name: ColumnType) -> Any:
    """Give what a record has for a column; None where it has nothing.

    Raises:
        WrongValue: it has something that the column does not take.
    """
    value = record[column] if column in record else _attribute(record, column)
    if value is None:
        return None
    if isinstance(value, Completion):
        value = value.as_dict() if type_name == "json" else value.text
    made = _MAKES[type_name](value)
    if made is None:
        raise WrongValue(column, type_name, value)
    return made


def _attribute(record: Record, column: str) -> str | None:
    return {"id": record.id, "session": record.session}.get(column)


def _text(value: Any) -> str | None:
    try:
        value.encode()
    except (AttributeError, UnicodeEncodeError):  # no text, or one with half of a pair
        return None
    return value


def _integer(value: Any) -> int | None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and -(2**63) <= value < 2**63 else None


def _number(value: Any) -> float | None:
    return value if isinstance(value, float) else None if _integer(value) is None else float(value)


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _json(value: Any) -> str | None:
    try:
        return _text(json.dumps(value, default=_plain, ensure_ascii=False, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, Completion):
        return value.as_dict()
    raise TypeError(value)


_MAKES: Final[dict[str, Callable[[Any], Any]]] = {
    "text": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "json": _json,
}
