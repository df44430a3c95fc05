"""Dead letters as people and programs read them, on standard output."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dagflow.cli.streams import print_document
from dagflow.cli.tables import Column, Table, print_blocks
from dagflow.completion import Completion
from dagflow.store.payload import unpack
from dagflow.store.views import describe_head, describe_letter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagflow.store.letter import Letter


def print_letters(letters: Iterable[Letter], *, as_json: bool) -> None:
    """Print a line for each letter, or one JSON array."""
    if as_json:
        _print_json([describe_head(letter) for letter in letters])
        return
    rows = [_row(letter) for letter in letters]
    titles = [Column("id", is_number=True), *map(Column, ("time", "record", "outcome", "at", "error", "which said"))]
    print_blocks(
        [Table([*titles, Column("replays", is_number=True)], rows)] if rows else ["no dead letters"], sys.stdout
    )


def print_whole_letters(letters: Iterable[Letter], *, as_json: bool) -> None:
    """Print each letter with its error and its fields, or one JSON array."""
    if as_json:
        _print_json([describe_letter(letter) for letter in letters])
        return
    blocks = [block for letter in letters for block in _paragraphs(letter)]
    print_blocks(blocks or ["no dead letters"], sys.stdout)


def _row(letter: Letter) -> list[str]:
    message = " ".join(letter.message.split())
    time = _moment(letter).strftime("%Y-%m-%d %H:%M:%S")
    return [
        str(letter.id),
        time,
        letter.record,
        letter.outcome,
        letter.place,
        letter.code,
        message,
        str(letter.replays),
    ]


def _paragraphs(letter: Letter) -> list[str]:
    time = _moment(letter).isoformat(sep=" ", timespec="seconds")
    head = (
        f"dead letter {letter.id}: record `{letter.record}` of `{letter.source}`, {letter.outcome} at `{letter.place}`"
    )
    tries = f"{time}, {letter.attempts} attempts, replayed {letter.replays} times, goes on at `{letter.node}`"
    errors = [f"{error['type']}: {error['message']}" for error in letter.chain]
    fields = _dumped(unpack(letter.fields), indent=2)
    return ["\n".join([head, tries, f"{letter.code}: {letter.message}", *errors[1:], fields])]


def _moment(letter: Letter) -> datetime:
    return datetime.fromtimestamp(letter.time).astimezone()


def _print_json(value: list[dict[str, Any]]) -> None:
    print_document(_dumped(value) + "\n")


def _dumped(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False, default=Completion.as_dict)
