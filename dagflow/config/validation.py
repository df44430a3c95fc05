"""From a table to a model, or to diagnostics.

TOML is validated the way pydantic validates strict JSON: text is right for a path or the member
of an enumeration, and wrong for a number. Only what came out of a reference is text by
necessity, and becomes the number or boolean that its key wants.
"""

from __future__ import annotations

import json
import re
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from dagflow.config.diagnostics import Diagnostic, diagnose
from dagflow.config.keys import render_key, value_at
from dagflow.config.messages import near_secret, unknown_key
from dagflow.config.references import literals
from dagflow.config.refusals import RefusalReader, Subject, key_of
from dagflow.config.shape import fields_of, is_secret, leaves, unknown_keys
from dagflow.config.tables import belongs_to

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dagflow.config.document import Document
    from dagflow.config.keys import Key

M = TypeVar("M", bound=BaseModel)


def validate(
    model: type[M], values: dict[str, Any], subject: Subject, document: Document
) -> tuple[M | None, list[Diagnostic]]:
    """Build the model from a table's values.

    Returns:
        The model, or None if there are errors; and the diagnostics, warnings included.
    """
    diagnostics = [*_check_keys(model, values, subject, document), *_check_secrets(model, values, subject, document)]
    dates = list(_check_dates(model, values, subject))
    if dates:
        return None, [*diagnostics, *dates]
    known = {name: value for name, value in values.items() if name in fields_of(model)}
    try:
        built = build_model(model, known, subject.key, document)
    except ValidationError as error:
        return None, [*diagnostics, *RefusalReader(model, known, subject, document).read(error)]
    return (None if any(d.code == "unknown-key" for d in diagnostics) else built), diagnostics


def _check_keys(
    model: type[BaseModel], values: dict[str, Any], subject: Subject, document: Document
) -> Iterator[Diagnostic]:
    secret_names = {name for name, field in fields_of(model).items() if is_secret(field.annotation)}
    for key, names in unknown_keys(model, values):
        name, table = str(key[-1]), key[:-1]
        if near_secret(name, names, secret_names):
            document.secrets[(*subject.key, *key)] = str(value_at(values, key))
        names = names | subject.more_names if not table else names
        elsewhere = belongs_to(name) if not table else None
        message = unknown_key(subject.place(table), name, names, elsewhere)
        yield diagnose(message.code, message.text, (*subject.key, *key), hint=message.hint, at="key")


def _check_secrets(
    model: type[BaseModel], values: dict[str, Any], subject: Subject, document: Document
) -> Iterator[Diagnostic]:
    for leaf in leaves(model, values):
        if not is_secret(leaf.annotation):
            continue
        key = (*subject.key, *leaf.key)
        written = value_at(document.written, key)
        document.secrets[key] = str(leaf.value)
        if isinstance(written, str) and literals(written) and document.override_of(key) is None:
            text = f"`{render_key(leaf.key)}` is a secret, but its text stands in the file"
            hint = "write it as `${env:NAME}` or `${file:PATH}`, so that the file can be shared"
            yield diagnose("literal-secret", text, key, hint=hint)


def _check_dates(model: type[BaseModel], values: dict[str, Any], subject: Subject) -> Iterator[Diagnostic]:
    """Find dates where none is wanted; in JSON they are text, and would be taken for it."""
    wanted: dict[Key, bool] = {}
    for leaf in leaves(model, values):
        if isinstance(leaf.value, date | time):
            wanted[leaf.key] = wanted.get(leaf.key, False) or leaf.annotation in (datetime, date, time, Any)
    for key in (key for key, right in wanted.items() if not right):
        name, value = render_key(key), value_at(values, key)
        hint = f'text stands in quotes: `{name} = "{value}"`'
        yield diagnose("wrong-type", f"`{name}` is the date `{value}`", (*subject.key, *key), hint=hint)


_READERS: Final = {
    "int_type": lambda text: int(text) if re.fullmatch(r"\s*[+-]?\d+\s*", text) else text,
    "float_type": lambda text: float(text) if re.fullmatch(r"\s*[+-]?\d+(\.\d+)?([eE][+-]?\d+)?\s*", text) else text,
    "bool_type": lambda text: {"true": True, "false": False}.get(text.strip(), text),
}
"""For each of pydantic's errors of type: how to read the text that a reference gave."""


def build_model(model: type[M], values: dict[str, Any], key: Key, document: Document) -> M:
    """Build the model from values that stand at `key`; those that a reference gave are read as numbers in place.

    Raises:
        ValidationError: as pydantic tells it.
    """
    try:
        return _strictly(model, values, document)
    except ValidationError as error:
        read = [_read(e, values, key, document) for e in error.errors(include_url=False) if e["type"] in _READERS]
        if not any(read):
            raise
    return _strictly(model, values, document)


def _strictly(model: type[M], values: dict[str, Any], document: Document) -> M:
    text = json.dumps(values, default=lambda value: value.isoformat())
    return model.model_validate_json(text, strict=True, context={"base": document.base})


def _read(error: Mapping[str, Any], values: dict[str, Any], key: Key, document: Document) -> bool:
    """Replace, in `values`, the text of a reference by the number or boolean that its key wants."""
    *above, last = key_of(error["loc"], values)[0]
    if (*key, *above, last) not in document.substituted:
        return False
    table = value_at(values, tuple(above))
    text, table[last] = table[last], _READERS[error["type"]](table[last])
    return table[last] is not text
