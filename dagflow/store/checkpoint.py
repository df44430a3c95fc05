"""The store of a checkpoint: its schema, and what is done with it on a connection.

What has settled is added in rows of many keys, so that a commit writes a page or two however many records there are.
Whoever changes it does so within a transaction of their own.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dagflow.store.database import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from sqlite3 import Connection

CHECKPOINT: Final = Kind(
    application_id=0x64666370,
    version=2,
    schema="""
        CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE settled (id INTEGER PRIMARY KEY, source TEXT NOT NULL, keys BLOB NOT NULL);
        CREATE TABLE positions (sink TEXT PRIMARY KEY, position TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE flying (source TEXT NOT NULL, key BLOB NOT NULL, edge TEXT NOT NULL, record TEXT NOT NULL);
        CREATE TABLE landed (source TEXT NOT NULL, key BLOB NOT NULL, edge TEXT NOT NULL, record TEXT NOT NULL);
        CREATE INDEX landed_key ON landed (key)
    """,
)

KEY_BYTES: Final = 20
"""How long the key of a record is: a hash of what it was made of, and which occurrence of that it is."""

_MEANING: Final = "meaning"

Written = tuple[str, bytes, str, str]
"""What a sink has of a record that is not done: its source, its key, by which edge, what follows its id there."""


@dataclass(slots=True)
class Step:
    """What has come about since the last commit, and how things stand.

    Attributes:
        settled: keys of records that are done, by source, one behind the other.
        positions: of each sink that has one.
        flying: what sinks have got in this run of records that are in flight.
        landed: what they have got of records that have ended and stay open.
        done: by source and key, the records that are done, of which sinks had something before this run.
    """

    settled: defaultdict[str, bytearray] = field(default_factory=partial(defaultdict, bytearray))
    positions: dict[str, Any] = field(default_factory=dict)
    flying: list[Written] = field(default_factory=list)
    landed: list[Written] = field(default_factory=list)
    done: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether nothing has ended."""
        return not (self.settled or self.landed)

    def follow(self, earlier: Step) -> None:
        """Take up what has ended by an earlier step, which was not taken. To be noted twice would do no harm."""
        for source, keys in earlier.settled.items():
            self.settled[source] += keys
        self.landed += earlier.landed
        self.done += earlier.done


def add_step(connection: Connection, step: Step) -> None:
    """Take a step."""
    connection.executemany("INSERT INTO settled (source, keys) VALUES (?, ?)", step.settled.items())
    add_positions(connection, step.positions)
    connection.execute("DELETE FROM flying")
    connection.executemany("INSERT INTO flying VALUES (?, ?, ?, ?)", step.flying)
    connection.executemany("INSERT INTO landed VALUES (?, ?, ?, ?)", step.landed)
    connection.executemany("DELETE FROM landed WHERE source = ? AND key = ?", step.done)


def add_positions(connection: Connection, positions: Mapping[str, Any]) -> None:
    """Take the position of each of some sinks; None says that it is not known."""
    rows = [(sink, json.dumps(position)) for sink, position in positions.items()]
    connection.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?)", rows)


def start_over(connection: Connection, meaning: Mapping[str, Any]) -> None:
    """Forget everything, and begin with what a file means."""
    for table in ("about", "settled", "positions", "flying", "landed"):
        connection.execute(f"DELETE FROM {table}")
    mean(connection, meaning)


def may_mean(connection: Connection, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a file that meant one thing may mean another: nothing was done, and no other sink would go on."""
    for table in ("settled", "landed", "flying"):
        if connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone():
            return False
    return before.get("sinks") == now.get("sinks") or not read_positions(connection)


def mean(connection: Connection, meaning: Mapping[str, Any]) -> None:
    """Note what the file means."""
    connection.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (_MEANING, json.dumps(meaning, sort_keys=True)))


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


def land(connection: Connection) -> Iterable[Written]:
    """Give what sinks have of records that are not done; all that flew in the last run has come down."""
    connection.execute("INSERT INTO landed SELECT * FROM flying")
    connection.execute("DELETE FROM flying")
    return connection.execute("SELECT source, key, edge, record FROM landed")
