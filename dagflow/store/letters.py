"""The store of dead letters: its schema, and what is done with it on a connection.

Whoever changes it does so within a transaction of their own.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from dagflow.store.database import Kind
from dagflow.store.letter import Letter, Selection, storable_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from sqlite3 import Connection

LETTERS: Final = Kind(
    application_id=0x64666C64,
    version=1,
    # AUTOINCREMENT: the number of a letter that is gone never names another one.
    schema="""
        CREATE TABLE letters (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            acceptance TEXT NOT NULL,
            record TEXT NOT NULL,
            node TEXT NOT NULL,
            place TEXT NOT NULL,
            source TEXT NOT NULL,
            outcome TEXT NOT NULL,
            code TEXT NOT NULL,
            message TEXT NOT NULL,
            chain TEXT NOT NULL,
            attempts INTEGER NOT NULL,
            replays INTEGER NOT NULL,
            time REAL NOT NULL,
            about TEXT NOT NULL,
            fields TEXT NOT NULL,
            accepted_about TEXT NOT NULL,
            accepted TEXT NOT NULL,
            as_text TEXT NOT NULL,
            readable INTEGER NOT NULL
        );
        CREATE INDEX letters_by_time ON letters (time)
    """,
)

_COLUMNS: Final = tuple(field.name for field in fields(Letter))
_INSERT: Final = f"INSERT INTO letters ({', '.join(_COLUMNS[1:])}) VALUES ({', '.join('?' * (len(_COLUMNS) - 1))})"
_PAYLOADS: Final = frozenset({"about", "fields", "accepted_about", "accepted"})
_HEADS: Final = ", ".join("'{}' AS " + name if name in _PAYLOADS else name for name in _COLUMNS)


def add_letter(connection: Connection, letter: Letter) -> None:
    """Add a letter; the store gives it its number."""
    connection.execute(_INSERT, [_storable(getattr(letter, name)) for name in _COLUMNS[1:]])


def remove_letters(connection: Connection, ids: Iterable[int]) -> int:
    """Remove letters by their numbers; gives how many were there."""
    return sum(connection.execute("DELETE FROM letters WHERE id = ?", (id,)).rowcount for id in ids)


def purge_letters(connection: Connection, selection: Selection) -> int:
    """Remove the selected letters; gives how many."""
    where, values = selection.as_sql()
    return connection.execute(f"DELETE FROM letters WHERE id IN (SELECT id FROM letters {where})", values).rowcount


def count_letters(connection: Connection, selection: Selection | None = None) -> int:
    """Count the selected letters, or all."""
    where, values = (selection or Selection()).as_sql()
    return connection.execute(f"SELECT count(*) FROM (SELECT id FROM letters {where})", values).fetchone()[0]


def find_letters(connection: Connection, selection: Selection, *, payloads: bool) -> Iterator[Letter]:
    """Give the selected letters, oldest first; without their payloads, these are empty."""
    where, values = selection.as_sql()
    columns = ", ".join(_COLUMNS) if payloads else _HEADS
    for row in connection.execute(f"SELECT {columns} FROM letters {where}", values):
        yield _letter_of(dict(zip(_COLUMNS, row, strict=True)))


def _letter_of(row: dict[str, Any]) -> Letter:
    row |= {name: json.loads(row[name]) for name in ("chain", "as_text")}
    return Letter(**{**row, "readable": bool(row["readable"])})


def _storable(value: object) -> object:
    """Give a value that SQLite takes: lists become JSON."""
    if isinstance(value, str):
        return storable_text(value)
    return json.dumps(value) if isinstance(value, list | dict) else value
