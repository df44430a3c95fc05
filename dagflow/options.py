"""Field types for the options of plugins and of the engine's own tables.

Each is a pydantic annotation: strict in the file, plain inside, and rendered back to the
file's form by `show`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from dagflow.addresses import Address, parse_address
from dagflow.record import ALWAYS_READABLE
from dagflow.units import (
    DURATION_PATTERN,
    RATE_PATTERN,
    SIZE_PATTERN,
    parse_allowance,
    parse_duration,
    parse_rate,
    parse_size,
    render_allowance,
    render_duration,
    render_rate,
    render_size,
)


class Options(BaseModel):
    """Base for options models: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class WorkerReference:
    """Marks a string option as the name of a worker in the file."""


class InFile:
    """Marks a path option: relative to the file that contains it."""


def _unit(code: str, parse: Any) -> BeforeValidator:
    def read(value: Any) -> Any:
        # A number is what validation itself produced (a default, a copy); the file has no bare numbers here.
        if isinstance(value, str):
            try:
                return parse(value)
            except ValueError as error:
                raise PydanticCustomError(code, "{reason}", {"reason": str(error)}) from None
        raise PydanticCustomError(code, "{reason}", {"reason": _expectation(parse)})

    return BeforeValidator(read)


def _expectation(parse: Any) -> str:
    try:
        parse("")
    except ValueError as error:
        return str(error)
    raise AssertionError(parse)


def _resolve(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base")
    return path if base is None or str(path) == "-" else Path(base) / path


def _field_name(name: str) -> str:
    if not name.isidentifier():
        expected = "a field name (letters, digits and `_`, no digit first)"
    elif name in ALWAYS_READABLE:
        expected = f"another name: `{name}` always stands for the record's own"
    else:
        return name
    raise PydanticCustomError("bad_field_name", "expected {expected}", {"expected": expected})


def _schema(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


Duration = Annotated[
    float,
    _unit("bad_duration", parse_duration),
    PlainSerializer(render_duration),
    _schema(DURATION_PATTERN, "30s"),
]
"""Seconds, written as `250ms` or `30s`."""

Size = Annotated[int, _unit("bad_size", parse_size), PlainSerializer(render_size), _schema(SIZE_PATTERN, "64MiB")]
"""Bytes, written as `64KiB` or `10MB`."""

Rate = Annotated[float, _unit("bad_rate", parse_rate), PlainSerializer(render_rate), _schema(RATE_PATTERN, "100/s")]
"""A number a second, written as `60/min` or `100/s`."""


def _parse_tokens(text: str) -> tuple[int, float]:
    return parse_allowance(text, "tokens")


Allowance = Annotated[
    tuple[int, float],
    _unit("bad_allowance", parse_allowance),
    PlainSerializer(render_allowance),
    _schema(RATE_PATTERN, "60/min"),
]
"""A number and the time that it is for, in seconds, written as `60/min`."""

TokenAllowance = Annotated[
    tuple[int, float],
    _unit("bad_allowance", _parse_tokens),
    PlainSerializer(render_allowance),
    _schema(RATE_PATTERN, "200k tokens/min"),
]
"""The same of tokens, written as `200k tokens/min`."""

ListenAddress = Annotated[
    Address,
    _unit("bad_address", parse_address),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": ["127.0.0.1:8000"]}),
]
"""An address to listen at, written as `127.0.0.1:8000`."""

FilePath = Annotated[Path, AfterValidator(_resolve), InFile()]
"""A path, relative to the pipeline file; `-` stays as it is."""

WorkerName = Annotated[str, WorkerReference()]
"""The name of a table under `[workers]`."""

Secret = SecretStr
"""A value that is never printed; write it as `${env:NAME}` or `${file:PATH}`."""

FieldName = Annotated[str, AfterValidator(_field_name)]
"""The name of a field that a node writes; conditions and templates can use it as it is."""
