"""Shelf: dead letters read by whoever is not the run that keeps them. It works while that writes."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from dagflow.store.database import naming, open_database
from dagflow.store.letter import Selection
from dagflow.store.letters import LETTERS, find_letters

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from sqlite3 import Connection

    from dagflow.store.letter import Letter


@contextmanager
def open_shelf(path: Path) -> Iterator[Connection | None]:
    """Open a store for a while; None if there is none yet.

    Raises:
        StoreError: it can't be opened or read.
    """
    if not path.exists():
        yield None
        return
    with naming(path), closing(open_database(path, LETTERS, create=False)) as connection:
        yield connection


def find_on(path: Path, selection: Selection, *, payloads: bool) -> Iterator[Letter]:
    """Give the selected letters, as `find_letters`; none if there is no store yet.

    Raises:
        StoreError: it can't be opened or read.
    """
    with open_shelf(path) as connection:
        if connection is not None:
            yield from find_letters(connection, selection, payloads=payloads)


def read_page(path: Path, ids: Sequence[int]) -> list[Letter]:
    """Give the letters of these numbers that are there, with their payloads."""
    return list(find_on(path, Selection(ids=tuple(ids)), payloads=True))


def choose_letters(path: Path, selection: Selection, from_start: bool) -> list[Letter]:
    """Give the selected letters without their payloads; from the start, with all others of the same records."""
    letters = list(find_on(path, selection, payloads=False))
    if not from_start:
        return letters
    keys = {letter.acceptance for letter in letters}
    return [letter for letter in find_on(path, Selection(), payloads=False) if letter.acceptance in keys]
