"""The store of a checkpoint: its schema, and what is done with it on a connection.

What has settled is added in rows of many keys, so that a commit writes a page or two however many records there are.
Whoever changes it does so within a transaction of their own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dagflow.store.database import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from sqlite3 import Connection

CHECKPOINT: Final = Kind(
    application_id=0x64666370,
    version=1,
    schema="""
        CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE settled (id INTEGER PRIMARY KEY, source TEXT NOT NULL, keys BLOB NOT NULL);
        CREATE TABLE positions (sink TEXT PRIMARY KEY, position TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE written (source TEXT NOT NULL, key BLOB NOT NULL, sink TEXT NOT NULL, record TEXT NOT NULL)
    """,
)

KEY_BYTES: Final = 20
"""How long the key of a record is: a hash of what it was made of, and which occurrence of that it is."""

_MEANING: Final = "meaning"

Written = tuple[str, bytes, str, str]
"""What a sink has of a record that has not settled: the source, its key, the sink, the id that the sink saw."""


@dataclass(slots=True)
class Step:
    """What has come about since the last commit, and how things stand.

    Attributes:
        settled: keys by source, one behind the other.
        positions: of each sink that has one.
        written: what sinks have of records that have not settled.
    """

    settled: dict[str, bytes] = field(default_factory=dict)
    positions: dict[str, Any] = field(default_factory=dict)
    written: list[Written] = field(default_factory=list)


def add_step(connection: Connection, step: Step) -> None:
    """Take a step."""
    connection.executemany("INSERT INTO settled (source, keys) VALUES (?, ?)", step.settled.items())
    positions = [(sink, json.dumps(position)) for sink, position in step.positions.items()]
    connection.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?)", positions)
    connection.execute("DELETE FROM written")
    connection.executemany("INSERT INTO written VALUES (?, ?, ?, ?)", step.written)


def start_over(connection: Connection, meaning: Mapping[str, Any]) -> None:
    """Forget everything, and begin with what a file means."""
    for table in ("about", "settled", "positions", "written"):
        connection.execute(f"DELETE FROM {table}")
    connection.execute("INSERT INTO about VALUES (?, ?)", (_MEANING, json.dumps(meaning, sort_keys=True)))


def read_meaning(connection: Connection) -> dict[str, Any] | None:
    """Give what the file meant for which it was begun; None for a new one."""
    found = connection.execute("SELECT value FROM about WHERE name = ?", (_MEANING,)).fetchone()
    return None if found is None else json.loads(found[0])


def read_settled(connection: Connection, source: str) -> Iterator[bytes]:
    """Iterate over the keys of what has settled, of one source."""
    for (keys,) in connection.execute("SELECT keys FROM settled WHERE source = ? ORDER BY id", (source,)):
        for at in range(0, len(keys), KEY_BYTES):
            yield keys[at : at + KEY_BYTES]


def read_positions(connection: Connection) -> dict[str, Any]:
    """Give the position of each sink."""
    return {sink: json.loads(text) for sink, text in connection.execute("SELECT sink, position FROM positions")}


def read_written(connection: Connection) -> Iterable[Written]:
    """Give what sinks have of records that have not settled."""
    return connection.execute("SELECT source, key, sink, record FROM written")
