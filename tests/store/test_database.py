"""Opening stores: who may read them, and which files are refused."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing

import pytest

from dagflow.errors import StoreError
from dagflow.store.database import Kind, naming, open_database

KIND = Kind(77, 3, "CREATE TABLE things (name TEXT)")


def opened(path, kind=KIND, create=True):
    """A store, to be closed."""
    return closing(open_database(path, kind, create=create))


def modes(folder):
    """The modes of all files in a folder."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def test_nobody_else_may_read_it_nor_what_stands_beside_it(tmp_path):
    """Also where the umask would let everybody."""
    before = os.umask(0)
    try:
        with opened(tmp_path / "a.db") as connection:
            connection.execute("INSERT INTO things VALUES ('x')")
            assert modes(tmp_path) == {"a.db": 0o600, "a.db-wal": 0o600, "a.db-shm": 0o600}
    finally:
        os.umask(before)


def test_a_file_that_everybody_could_read_is_closed_to_them(tmp_path):
    """Whoever made it."""
    (tmp_path / "a.db").touch(0o644)
    with opened(tmp_path / "a.db"):
        assert set(modes(tmp_path).values()) == {0o600}


def test_a_store_that_was_opened_to_others_is_closed_again(tmp_path):
    """With the files beside it."""
    with opened(tmp_path / "a.db") as connection:
        connection.execute("INSERT INTO things VALUES ('x')")
        for path in tmp_path.iterdir():
            path.chmod(0o644)
        with opened(tmp_path / "a.db"):
            assert modes(tmp_path) == {"a.db": 0o600, "a.db-wal": 0o600, "a.db-shm": 0o600}


def test_it_is_durable_and_keeps_what_is_in_it(tmp_path):
    """A commit is on the disk when it returns; opening it again changes nothing."""
    with opened(tmp_path / "a.db") as connection:
        connection.execute("INSERT INTO things VALUES ('x')")
    with opened(tmp_path / "a.db", create=False) as connection:
        assert connection.execute("SELECT name FROM things").fetchall() == [("x",)]
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def refusal(path, kind=KIND, create=False):
    """Why a file is refused."""
    with pytest.raises(StoreError) as caught:
        open_database(path, kind, create=create)
    text = str(caught.value)
    assert text.startswith(f"`{path}` cannot be used: ")
    assert text.endswith("; see to it that it can be, or change `path`")
    return text.partition(": ")[2].partition(";")[0]


def test_what_is_no_store_is_refused_and_left_alone(tmp_path):
    """A text, another program's database, a folder, nothing, and a folder that is not there."""
    text, other, folder = tmp_path / "text", tmp_path / "other", tmp_path / "folder"
    text.write_text("hello, world, this is no database")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE mine (a)")
    folder.mkdir()
    other.chmod(0o644)
    before = other.read_bytes()
    assert refusal(text, create=True) == "the file is no database"
    assert refusal(other, create=True) == "it is a database of something else"
    assert refusal(folder) == "Is a directory"
    assert refusal(tmp_path / "none") == "No such file or directory"
    assert refusal(folder / "deep" / "x", create=True) == f"there is no folder `{folder / 'deep'}`"
    assert text.read_text().startswith("hello")
    assert other.read_bytes() == before
    assert stat.S_IMODE(other.stat().st_mode) == 0o644


def test_a_broken_database_is_refused(tmp_path):
    """It begins like one."""
    (tmp_path / "a.db").write_bytes(b"SQLite format 3\0" + b"x" * 4096)
    assert refusal(tmp_path / "a.db") == "file is not a database"


def test_an_unknown_version_is_refused_with_its_number(tmp_path):
    """It may be of a newer dagflow."""
    with opened(tmp_path / "a.db", Kind(77, 4, KIND.schema)):
        pass
    assert refusal(tmp_path / "a.db") == "it is of version 4, and this dagflow knows version 3"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(tmp_path):
    """The side files could not be made."""
    tmp_path.chmod(0o500)
    try:
        assert refusal(tmp_path / "a.db", create=True) == "Permission denied"
    finally:
        tmp_path.chmod(0o700)


def test_errors_of_sqlite_name_the_store(tmp_path):
    """Whatever is done with it."""
    path = tmp_path / "a.db"
    with opened(path) as connection, pytest.raises(StoreError, match="no such table: others"), naming(path):
        connection.execute("SELECT * FROM others")
