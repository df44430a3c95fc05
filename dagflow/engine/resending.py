"""Resending: records made of dead letters, and the source that hands them in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from anyio import to_thread

from dagflow.engine.postbox import Accepted, Resent
from dagflow.errors import DagflowError
from dagflow.plugin import Source
from dagflow.record import GOOD, Outcome, Record
from dagflow.store.payload import unpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from dagflow.engine.letters import Letters
    from dagflow.store.letter import Letter

    Read = Callable[[Sequence[int]], list[Letter]]
    Answer = Callable[[Record], None]

REPLAY: Final = "(replay)"
"""The source of what goes on at its node. No node of a file can have this name."""

_PAGE: Final = 100  # letters that are read at a time


@dataclass(frozen=True, slots=True)
class Entry:
    """A record to be sent in again.

    Attributes:
        source: which source hands it in.
        node: where it goes on; None for where all records of the source go.
        ids: numbers of the letters that it is made of.
    """

    source: str
    node: str | None
    ids: tuple[int, ...]


class ReplaySource(Source):
    """Hands in records that it makes of letters."""

    def __init__(self, entries: Sequence[Entry], read: Read, letters: Letters, answer: Answer | None) -> None:
        """Take what gives letters by their numbers, what removes them, and what takes answers."""
        super().__init__()
        self._entries = entries
        self._read = read
        self._letters = letters
        self._answer = answer
        self._handed_in = 0

    async def records(self) -> AsyncIterator[Record]:
        """Give the records of the letters that are still there."""
        async for _, record in self.pairs():
            self._handed_in += 1
            if record is not None:
                yield record

    async def pairs(self) -> AsyncIterator[tuple[Entry, Record | None]]:
        """Give each entry with its record; None if its letter is gone."""
        for start in range(0, len(self._entries), _PAGE):
            page = self._entries[start : start + _PAGE]
            letters = await to_thread.run_sync(self._read, [id for entry in page for id in entry.ids])
            found = {letter.id: letter for letter in letters}
            for entry in page:
                letter = found.get(entry.ids[0])
                yield entry, None if letter is None else _record_of(letter, entry)

    def settle(self, record: Record, outcome: Outcome) -> None:
        """Remove the letters of a record that has come through, once its answer is written."""
        if outcome not in GOOD:
            return
        try:
            if record.ticket.answer is not None and self._answer is not None:
                self._answer(record.ticket.answer)
        except DagflowError as error:
            self._letters.on_trouble(f"record `{record.id}` was answered, and its letter stays: {error}")
        else:
            self._letters.discard(record.accepted.replaces)

    def progress(self) -> float:
        """The share that has been handed in."""
        return self._handed_in / len(self._entries) if self._entries else 1.0


def _record_of(letter: Letter, entry: Entry) -> Resent:
    """Make the record of a letter. It has no deadline: that has passed, or soon would."""
    original = Record(unpack(letter.accepted))
    _describe(original, letter.accepted_about)
    accepted = Accepted(letter.source, original)
    accepted.key, accepted.replaces, accepted.replays = letter.acceptance, entry.ids, letter.replays + 1
    if entry.node is None:
        record = Resent(original)
        _describe(record, letter.accepted_about)
    else:
        record = Resent(unpack(letter.fields))
        _describe(record, letter.about)
        record.port = entry.node
    record.accepted = accepted
    return record


def _describe(record: Record, about: str) -> None:
    for name, value in unpack(about).items():
        setattr(record, name, value)
