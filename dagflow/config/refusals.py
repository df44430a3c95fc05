"""From what pydantic refuses to diagnostics: one for each value that is wrong, at its key in the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagflow.config.diagnostics import Diagnostic, diagnose
from dagflow.config.keys import render_key, value_at
from dagflow.config.messages import EXPECTED, Message, message_for, wrong_type
from dagflow.config.shape import Leaf, fields_of, is_model, is_secret, leaves
from dagflow.config.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel, ValidationError

    from dagflow.config.document import Document
    from dagflow.config.keys import Key


@dataclass(frozen=True, slots=True)
class Subject:
    """What is validated: the table's key, what to call it, and names of keys that others validate."""

    key: Key
    what: str
    more_names: frozenset[str] = frozenset()

    def place(self, table: Key) -> str:
        """Name a table inside it, for messages."""
        return f"`{render_key(table)}` of {self.what}" if table else self.what


class RefusalReader:
    """Turns one ValidationError into diagnostics."""

    def __init__(self, model: type[BaseModel], values: dict[str, Any], subject: Subject, document: Document) -> None:
        self._model = model
        self._values = values
        self._leaves: dict[Key, list[Leaf]] = {}
        for leaf in leaves(model, values):
            self._leaves.setdefault(leaf.key, []).append(leaf)
        self._subject = subject
        self._document = document

    def read(self, error: ValidationError) -> Iterator[Diagnostic]:
        """Give one diagnostic for each value that is wrong."""
        unions: dict[Key, dict[Any, list[Any]]] = {}
        for detail in error.errors(include_url=False):
            key, root, member = key_of(_location(detail), self._values)
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
            expected = [self._expected(root, detail) for member in members for _, detail in member]
            yield self._diagnostic(wrong_type(expected, self._value(root)), root)

    def _one(self, key: Key, detail: Any) -> Diagnostic:
        if detail["type"] == "missing":
            name = detail["loc"][-1]
            field = None if key else fields_of(self._model).get(name)
            hint = f"`{name}`: {field.description}" if field is not None and field.description else None
            text = f"{self._subject.place(key)} needs `{name}`"
            return self._diagnostic(Message("missing-option", text, hint), key)
        if detail["type"] in EXPECTED:
            return self._diagnostic(wrong_type([self._expected(key, detail)], self._value(key)), key)
        message = message_for(detail, self._value(key))
        if not key:  # the options as a whole were refused
            message = message._replace(text=f"{self._subject.what}: {message.text}")
        return self._diagnostic(message, key)

    def _expected(self, key: Key, detail: Any) -> str:
        found = self._leaves.get(key, [])
        if any(leaf.is_worker for leaf in found):
            return "the name of a worker"
        if len(found) == 1 and is_model(found[0].annotation):
            return f"a table with {', '.join(f'`{name}`' for name in fields_of(found[0].annotation))}"
        return EXPECTED[detail["type"]]

    def _value(self, key: Key) -> Value:
        written = self._document.substituted.get((*self._subject.key, *key))
        secret = any(is_secret(leaf.annotation) for leaf in self._leaves.get(key, ()))
        return Value(render_key(key), value_at(self._values, key), written, secret)

    def _diagnostic(self, message: Message, key: Key) -> Diagnostic:
        return diagnose(message.code, message.text, (*self._subject.key, *key), hint=message.hint)


def _location(detail: Mapping[str, Any]) -> tuple[str | int, ...]:
    return detail["loc"][:-1] if detail["type"] == "missing" else detail["loc"]


def key_of(loc: tuple[str | int, ...], values: Any) -> tuple[Key, Key, str | int | None]:
    """Give the key that pydantic's location leads to, and the key and member of the first union on the way.

    A location also names the members of unions; they are not in the file.
    """
    key: Key = ()
    root, member = key, None
    here = values
    for part in loc:
        inside = part in here if isinstance(here, dict) else isinstance(here, list) and part in range(len(here))
        if inside:
            key += (part,)
            here = here[part]
        elif member is None:
            root, member = key, part
    return key, root, member
