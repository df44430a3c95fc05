"""PassageIndex: a full-text index of passages in one SQLite file.

The file is built aside and moved into place whole, and never changed after: any number of
processes may read it while another one puts a newer in its place. It holds nothing that the
documents don't, so that it can be deleted at any time.
"""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from tempfile import mkstemp
from typing import Any, Final

from dagflow.errors import PluginError
from dagflow.stages.passages import Passage
from dagflow.words import content_words

FORMAT: Final = 1  # to be raised when the same documents would be indexed otherwise
_APPLICATION_ID: Final = 0x64666C77  # marks a SQLite file as ours, so that no other is overwritten
_MOST_WORDS: Final = 64  # of a question; more make it slow, and no better
_TITLE_WEIGHT: Final = 2.0  # a word in a heading says more than one in the text

_SCHEMA: Final = f"""
    PRAGMA application_id = {_APPLICATION_ID};
    CREATE TABLE built (fingerprint TEXT NOT NULL);
    CREATE VIRTUAL TABLE passages USING fts5 (
        text, title, source UNINDEXED, tokenize = "porter unicode61 remove_diacritics 2"
    );
    INSERT INTO passages (passages, rank) VALUES ('rank', 'bm25(1.0, {_TITLE_WEIGHT})');
"""


class PassageIndex:
    """Searches a built index; may be used by several threads at once, each with its own connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle = deque([_connect(path)])  # its append and pop are atomic

    def search(self, question: str, limit: int) -> list[dict[str, Any]]:
        """Find the passages that fit a question best, best first; a higher score is better."""
        query = build_query(question)
        if not query:
            return []
        rows = self._fetch(
            "SELECT text, source, -rank FROM passages WHERE passages MATCH ? ORDER BY rank, rowid LIMIT ?", query, limit
        )
        return [{"text": text, "source": source, "score": round(score, 4)} for text, source, score in rows]

    def passages(self) -> list[dict[str, Any]]:
        """Give all passages, with `text` and `source`."""
        rows = self._fetch("SELECT text, source FROM passages ORDER BY rowid")
        return [{"text": text, "source": source} for text, source in rows]

    def count(self) -> int:
        """Count the passages."""
        return self._fetch("SELECT count(*) FROM passages")[0][0]

    def close(self) -> None:
        """Close all connections that are not in use."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _fetch(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = _connect(self._path)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            self._idle.append(connection)


def build_query(question: str) -> str:
    """Build the full-text query that finds passages with any of the question's words.

    The words are quoted, so that nothing in a question is taken for an operator; empty if it
    has no words of its own.
    """
    distinct = list(dict.fromkeys(content_words(question)))[:_MOST_WORDS]
    return " OR ".join(f'"{word}"' for word in distinct)


def is_current(path: Path, fingerprint: str) -> bool:
    """Whether a file is a sound index with this fingerprint."""
    if not path.is_file() or is_foreign(path):
        return False
    try:
        with closing(_connect(path)) as connection:
            return connection.execute("SELECT fingerprint FROM built").fetchone() == (fingerprint,)
    except sqlite3.DatabaseError:
        return False


def is_foreign(path: Path) -> bool:
    """Whether there is something else than an index, which is not ours to replace."""
    if not path.exists():
        return False
    if not path.is_file():
        return True
    with path.open("rb") as file:
        header = file.read(72)
    # The format of SQLite files, section 1.3: the application's id stands in bytes 68 to 71.
    return header != b"" and header[68:] != _APPLICATION_ID.to_bytes(4, "big")


def build_index(path: Path, fingerprint: str, passages: Iterable[Passage]) -> None:
    """Build the index at a path, in place of an older one; only its owner can read it.

    Raises:
        PluginError: it can't be written there.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd, aside = mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(fd)
        try:
            _write(aside, fingerprint, passages)
            os.replace(aside, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(aside)
    except (OSError, sqlite3.OperationalError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PluginError(f"cannot write the index `{path}`: {reason}; set `index` to a path that can be") from error


def _write(path: str, fingerprint: str, passages: Iterable[Passage]) -> None:
    with closing(sqlite3.connect(path)) as connection:
        # Nobody reads it before it is whole, so that no journal is needed.
        connection.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_SCHEMA}")
        with connection:
            connection.executemany(
                "INSERT INTO passages (text, title, source) VALUES (?, ?, ?)",
                ((passage.text, passage.title, passage.source) for passage in passages),
            )
            connection.execute("INSERT INTO passages (passages) VALUES ('optimize')")
            connection.execute("INSERT INTO built VALUES (?)", (fingerprint,))


def _connect(path: Path) -> sqlite3.Connection:
    # Immutable: no locks are taken, as nobody changes the file itself. One thread at a time has the connection.
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)
