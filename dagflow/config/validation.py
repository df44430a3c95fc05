"""From a table to a model, or to diagnostics.

TOML is validated the way pydantic validates strict JSON: text is right for a path or the member
of an enumeration, and wrong for a number. Only what came out of a reference is text by
necessity, and becomes the number or boolean that its key wants.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from dagflow.config.diagnostics import Diagnostic, diagnose
from dagflow.config.keys import render_key, value_at
from dagflow.config.messages import EXPECTED, Message, message_for, near_secret, unknown_key, wrong_type
from dagflow.config.references import literals
from dagflow.config.shape import Leaf, fields_of, leaves, unknown_keys
from dagflow.config.tables import belongs_to
from dagflow.config.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dagflow.config.document import Document
    from dagflow.config.keys import Key

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is validated: the table's key, what to call it, and keys that others validate."""

    key: Key
    what: str
    more_names: frozenset[str] = frozenset()


def validate(
    model: type[M], values: dict[str, Any], subject: Subject, document: Document
) -> tuple[M | None, list[Diagnostic]]:
    """Build the model from a table's values.

    Returns:
        The model, or None if there are errors; and the diagnostics, warnings included.
    """
    secrets = [leaf for leaf in leaves(model, values) if leaf.is_secret]
    diagnostics = [*_check_keys(model, values, subject, document), *_check_secrets(secrets, subject, document)]
    known = {name: value for name, value in values.items() if name in fields_of(model)}
    try:
        built = _validated(model, known, subject.key, document)
    except ValidationError as error:
        reader = _Reader(model, known, {leaf.key for leaf in secrets}, subject, document)
        diagnostics += reader.read(error)
        return None, diagnostics
    return (None if any(d.code == "unknown-key" for d in diagnostics) else built), diagnostics


def _check_keys(
    model: type[BaseModel], values: dict[str, Any], subject: Subject, document: Document
) -> Iterator[Diagnostic]:
    secret_names = {name for name, field in fields_of(model).items() if Leaf((), None, field.annotation, ()).is_secret}
    for key, names in unknown_keys(model, values):
        name, table = str(key[-1]), key[:-1]
        if near_secret(name, names, secret_names):
            document.secrets[(*subject.key, *key)] = str(value_at(values, key))
        names = names | subject.more_names if not table else names
        elsewhere = belongs_to(name) if not table else None
        message = unknown_key(_place(table, subject), name, names, elsewhere)
        yield diagnose(message.code, message.text, (*subject.key, *key), hint=message.hint, at="key")


def _check_secrets(secrets: list[Leaf], subject: Subject, document: Document) -> Iterator[Diagnostic]:
    for leaf in secrets:
        key = (*subject.key, *leaf.key)
        written = value_at(document.written, key)
        document.secrets[key] = str(leaf.value)
        if isinstance(written, str) and literals(written) and document.override_of(key) is None:
            text = f"`{render_key(leaf.key)}` is a secret, but its text stands in the file"
            hint = "write it as `${env:NAME}` or `${file:PATH}`, so that the file can be shared"
            yield diagnose("literal-secret", text, key, hint=hint)


def _place(table: Key, subject: Subject) -> str:
    return f"`{render_key(table)}` of {subject.what}" if table else subject.what


_READERS: Final = {
    "int_type": lambda text: int(text) if re.fullmatch(r"\s*[+-]?\d+\s*", text) else text,
    "float_type": lambda text: float(text) if re.fullmatch(r"\s*[+-]?\d+(\.\d+)?([eE][+-]?\d+)?\s*", text) else text,
    "bool_type": lambda text: {"true": True, "false": False}.get(text.strip(), text),
}
"""For each of pydantic's errors of type: how to read the text that a reference gave."""


def _validated(model: type[M], values: dict[str, Any], key: Key, document: Document) -> M:
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
    *above, last = _key_of(error["loc"], values)[0]
    if (*key, *above, last) not in document.substituted:
        return False
    table = value_at(values, tuple(above))
    text, table[last] = table[last], _READERS[error["type"]](table[last])
    return table[last] is not text


class _Reader:
    """Turns one ValidationError into diagnostics."""

    def __init__(
        self, model: type[BaseModel], values: dict[str, Any], secrets: set[Key], subject: Subject, document: Document
    ) -> None:
        self._model = model
        self._values = values
        self._secrets = secrets
        self._subject = subject
        self._document = document

    def read(self, error: ValidationError) -> Iterator[Diagnostic]:
        """Give one diagnostic for each value that is wrong."""
        unions: dict[Key, dict[Any, list[Any]]] = {}
        for detail in error.errors(include_url=False):
            key, root, member = _key_of(_location(detail), self._values)
            if detail["type"] == "extra_forbidden":
                continue  # told by `_check_keys`, which knows names
            if member is None:
                yield self._one(key, detail)
            else:
                unions.setdefault(root, {}).setdefault(member, []).append((key, detail))
        for root, members in unions.items():
            yield from self._read_union(root, list(members.values()))

    def _read_union(self, root: Key, members: list[Any]) -> Iterator[Diagnostic]:
        """Take the member of a union that came nearest; where none did, say what all want."""
        nearer = [m for m in members if any(key != root or d["type"] not in EXPECTED for key, d in m)]
        if nearer:
            for key, detail in min(nearer, key=len):
                yield self._one(key, detail)
        else:
            expected = [EXPECTED[detail["type"]] for member in members for _, detail in member]
            yield self._diagnostic(wrong_type(expected, self._value(root)), root)

    def _one(self, key: Key, detail: Any) -> Diagnostic:
        if detail["type"] == "missing":
            name = detail["loc"][-1]
            field = None if key else fields_of(self._model).get(name)
            hint = f"`{name}`: {field.description}" if field is not None and field.description else None
            text = f"{_place(key, self._subject)} needs `{name}`"
            return self._diagnostic(Message("missing-option", text, hint), key)
        message = message_for(detail, self._value(key))
        if not key:  # the options as a whole were refused
            message = message._replace(text=f"{self._subject.what}: {message.text}")
        return self._diagnostic(message, key)

    def _value(self, key: Key) -> Value:
        written = self._document.substituted.get((*self._subject.key, *key))
        return Value(render_key(key), value_at(self._values, key), written, key in self._secrets)

    def _diagnostic(self, message: Message, key: Key) -> Diagnostic:
        return diagnose(message.code, message.text, (*self._subject.key, *key), hint=message.hint)


def _location(detail: Mapping[str, Any]) -> tuple[str | int, ...]:
    return detail["loc"][:-1] if detail["type"] == "missing" else detail["loc"]


def _key_of(loc: tuple[str | int, ...], values: Any) -> tuple[Key, Key, str | int | None]:
    """Give the key that pydantic's location leads to, and the key and member of the first union on the way.

    A location also names the members of unions; they are not in the file.
    """
    key: Key = ()
    root, member = key, None
    here = values
    for part in loc:
        inside = part in here if isinstance(here, dict) else isinstance(here, list) and isinstance(part, int)
        if inside:
            key += (part,)
            here = here[part]
        elif member is None:
            root, member = key, part
    return key, root, member
