"""The effective file: what was written, with defaults filled in and secrets left out.

What the user wrote stays as written, references and relative paths included; only what is
missing comes from the models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from dagflow.config.keys import value_at
from dagflow.config.references import mask_literals
from dagflow.config.shape import fields_of, is_secret, leaves
from dagflow.config.tables import TABLES
from dagflow.config.validation import build_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from dagflow.config.document import Document
    from dagflow.config.keys import Key


def effective_tables(document: Document, models: Mapping[Key, Sequence[BaseModel]]) -> dict[str, Any]:
    """Give the tables of a valid file as `show` prints them.

    Args:
        models: for each table and edge of the file, the models that its values became.
    """
    written = _masked(document.written, (), document)
    tables: dict[str, Any] = {name: {} for name in TABLES}
    edges = []
    for key, built in models.items():
        defaults = {name: value for model in built for name, value in _defaults(model, key, document).items()}
        filled = _filled(value_at(written, key) or {}, defaults)
        if key[:2] == ("pipeline", "edges") and len(key) > 2:
            edges.append(filled)
        elif len(key) == 1:
            tables[key[0]] |= filled
        else:
            tables[key[0]][key[1]] = filled
    tables["pipeline"]["edges"] = edges
    return {name: table for name, table in tables.items() if table}


def _defaults(model: BaseModel, key: Key, document: Document) -> dict[str, Any]:
    """Give the values of a model that may be written out: none, if it then takes them for the user's."""
    values, dumped = value_at(document.tables, key) or {}, dump(model)
    own = {name: value for name, value in values.items() if name in fields_of(type(model))}
    try:
        build_model(type(model), dumped | own, key, document)
    except ValidationError:
        return {}
    return dumped


def dump(model: BaseModel) -> dict[str, Any]:
    """Write a model's values as a file would: without secrets, and without what TOML has no form for."""
    kind = type(model)
    dumped = _without_none(model.model_dump(mode="json", by_alias=True, warnings=False, fallback=lambda _: None))
    for leaf in list(leaves(kind, dumped)):
        if is_secret(leaf.annotation):
            del value_at(dumped, leaf.key[:-1])[leaf.key[-1]]
    return {name: value for name, value in dumped.items() if name in fields_of(kind)}


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_none(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_none(item) for item in value if item is not None]
    return value


def _filled(written: Any, defaults: Any) -> Any:
    """Keep what was written, and add what is missing in tables; keys in the order of the models."""
    if isinstance(written, dict) and isinstance(defaults, dict):
        both = defaults | written
        return {name: _filled(value, defaults[name]) if name in defaults else value for name, value in both.items()}
    if isinstance(written, list) and isinstance(defaults, list) and len(written) == len(defaults):
        return [_filled(item, default) for item, default in zip(written, defaults, strict=True)]
    return written


def _masked(value: Any, key: Key, document: Document) -> Any:
    if isinstance(value, dict):
        return {name: _masked(item, (*key, name), document) for name, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, (*key, index), document) for index, item in enumerate(value)]
    return mask_literals(value) if key in document.secrets and isinstance(value, str) else value
