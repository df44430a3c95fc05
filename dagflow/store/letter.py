"""Letter: one dead letter, and Selection: which ones are meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A record that ended otherwise than it should have, with all that is needed to send it in again.

    Attributes:
        id: its number in the store, never given twice; 0 before it is there.
        acceptance: shared by all letters of one accepted record.
        record: the id of the record.
        node: the node where it goes on when it is replayed.
        place: where it ended: that node, or an edge to it.
        source: the source that handed it in.
        outcome: what the branch ended as.
        code, message: of the error, or of what the edge shed it for.
        chain: the error and what it came from: `{"type", "message"}` each.
        attempts: how often the node tried; 0 if it did not get to that.
        replays: how often it was replayed before.
        time: seconds since the epoch.
        about: of the record as it entered the node, packed: `id`, `session`, `priority`, `meta`, `port`.
        fields: its fields, packed.
        accepted_about, accepted: the same of the record as its source handed it in.
        as_text: names of what could not be kept as it was: of `fields` and `about`, and of both as `accepted`.
        readable: whether the source could make a record of its input.
    """

    id: int = 0
    acceptance: str
    record: str
    node: str
    place: str
    source: str
    outcome: str
    code: str
    message: str
    chain: list[dict[str, str]]
    attempts: int
    replays: int
    time: float
    about: str
    fields: str
    accepted_about: str
    accepted: str
    as_text: dict[str, list[str]]
    readable: bool


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are meant: those that fit all that is given.

    Attributes:
        since, before: seconds since the epoch.
        ids: their numbers; empty for all.
        records: ids of their records; empty for all.
        after: only those that come behind this number, in the order in which they are given.
        limit: how many at most, oldest first.
        newest_first: whether the newest come first instead.
    """

    node: str | None = None
    code: str | None = None
    since: float | None = None
    before: float | None = None
    ids: tuple[int, ...] = ()
    records: tuple[str, ...] = ()
    limit: int | None = None
    after: int | None = None
    newest_first: bool = False

    @property
    def is_everything(self) -> bool:
        """Whether nothing is asked of a letter."""
        return self == Selection(limit=self.limit, newest_first=self.newest_first)

    def as_sql(self) -> tuple[str, list[Any]]:
        """Give what follows the table's name in a query, and its values."""
        tests = {
            "node = ?": self.node and storable_text(self.node),
            "code = ?": self.code and storable_text(self.code),
            "time >= ?": self.since,
            "time < ?": self.before,
            "id < ?" if self.newest_first else "id > ?": self.after,
        }
        given = [(test, [value]) for test, value in tests.items() if value is not None]
        for column, names in (("id", self.ids), ("record", [*map(storable_text, self.records)])):
            if names:
                given.append((f"{column} IN ({', '.join('?' * len(names))})", list(names)))
        where = " AND ".join(test for test, _ in given) or "true"
        values = [value for _, values in given for value in values]
        order = "id DESC" if self.newest_first else "id"
        return f"WHERE {where} ORDER BY {order} LIMIT ?", [*values, -1 if self.limit is None else self.limit]


def storable_text(text: str) -> str:
    """Give text as SQLite takes it: what is no Unicode is escaped."""
    return text.encode(errors="backslashreplace").decode()
