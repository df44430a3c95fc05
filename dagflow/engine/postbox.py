"""Postbox: where a node or an edge puts a branch that ended otherwise than it should have.

It makes a letter of it where one is to be kept, and ends the branch: at once, or when the letter is
kept. A best-effort branch has a ticket of its own, which says nothing of its acceptance: it is
never kept.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from dagflow.errors import describe
from dagflow.live_values import abandon_live
from dagflow.record import Outcome, Record, RefusedInput, UnreadableInput
from dagflow.store.letter import Letter
from dagflow.store.payload import pack

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagflow.engine.letters import Letters
    from dagflow.engine.place import Place
    from dagflow.errors import RecordError
    from dagflow.record import Ticket


UNFINISHED: Final = "unfinished"
"""The code of letters of what a forced end cut off."""


class Accepted:
    """What is known of an accepted record for the sake of its letters.

    Attributes:
        source: who handed it in.
        record: a copy of it as it was then.
        readable: whether the source could make a record of its input.
        key: shared by its letters; empty until there is one.
        replaces: numbers of the letters that it was made of, and that its own letter replaces.
        replays: how often it was replayed.
        comes_again: whether a later run gets it again if this one does not finish it.
        streamed: records as they entered a stage that answered with a stream, by stage and id: when the
            stream breaks, some node behind it finds out.
    """

    __slots__ = ("comes_again", "key", "readable", "record", "replaces", "replays", "source", "streamed")

    def __init__(self, source: str, record: Record, readable: bool = True, comes_again: bool = False) -> None:
        self.source = source
        self.record = record
        self.readable = readable
        self.comes_again = comes_again
        self.key = ""
        self.replaces: tuple[int, ...] = ()
        self.replays = 0
        self.streamed: dict[tuple[str, str], Record] = {}


class Resent(Record):
    """A record that was made of letters: it takes over what was known of its acceptance."""

    __slots__ = ("accepted",)


def accepted_from(source: str, record: Record, comes_again: bool = False) -> Accepted:
    """Note what a record is at its acceptance."""
    if isinstance(record, Resent):
        return record.accepted
    copy = record.copy()
    copy.ticket = None  # each would keep the other until the next garbage collection
    is_readable = isinstance(record, RefusedInput) or not isinstance(record, UnreadableInput)
    return Accepted(source, copy, is_readable, comes_again)


class Postbox:
    """The postbox of one node or edge.

    Attributes:
        not_kept: branches of which a letter should have been kept, and was not.
    """

    __slots__ = ("_letters", "_node", "_place", "_where", "not_kept")

    def __init__(self, letters: Letters | None, place: Place, node: str, where: str) -> None:
        """Take what keeps letters, if anything does, the place, and the names of the letter's node and place."""
        self._letters = letters
        self._place = place
        self._node = node
        self._where = where
        self.not_kept = 0

    @property
    def keeps(self) -> bool:
        """Whether letters are kept."""
        return self._letters is not None

    def post(
        self,
        record: Record,
        outcome: Outcome,
        error: RecordError | None = None,
        reason: str = "",
        entered: Record | None = None,
    ) -> None:
        """End a branch, once its letter is kept if one is to be.

        Args:
            reason: why, where there is no error.
            entered: the record as it entered the node, where that has changed it since.
        """
        accepted = record.ticket.accepted
        left_open = accepted is not None and reason == UNFINISHED and self._is_left_open(record.ticket)
        if self._letters is None or accepted is None or left_open:
            self.not_kept += self._letters is None and outcome is Outcome.FAILED
            if left_open and record.ticket.mark is not None:
                record.ticket.kept = False
            self._place.end(record, outcome, error)
            return
        node, kept = self._node, record if entered is None else entered
        if error is not None and (error.node, record.id) in accepted.streamed:
            node, kept = error.node, accepted.streamed[error.node, record.id]
        accepted.key = accepted.key or self._letters.next_key()
        kept = kept.copy()  # a thread that was left behind may go on to change it
        letter = partial(self._letter, kept, node, outcome, error, reason, accepted, self._letters.clock())
        abandon_live(record.values())
        self._letters.keep(letter, accepted.replaces, tuple(kept.values()), partial(self._end, record, outcome, error))

    def _end(self, record: Record, outcome: Outcome, error: RecordError | None, kept: bool) -> None:
        self._note(record.ticket, kept)
        self._place.end(record, outcome, error)

    def keep(self, ticket: Ticket, outcome: Outcome, end: Callable[[], None]) -> None:
        """Keep a letter of a ticket whose branches have ended, as the record was when it was accepted; then go on."""
        accepted = ticket.accepted
        accepted.key = accepted.key or self._letters.next_key()
        about = (outcome, ticket.error, outcome.value, accepted, self._letters.clock())

        def on_kept(kept: bool) -> None:
            self._note(ticket, kept)
            end()

        letter = partial(self._letter, accepted.record, self._node, *about)
        self._letters.keep(letter, accepted.replaces, (), on_kept)

    def _note(self, ticket: Ticket, kept: bool) -> None:
        self.not_kept += not kept
        ticket.kept = kept and ticket.kept is not False

    @staticmethod
    def _is_left_open(ticket: Ticket) -> bool:
        """Whether a later run goes on with a record that this one does not finish."""
        return ticket.mark is not None or ticket.accepted.comes_again

    def _letter(
        self,
        record: Record,
        node: str,
        outcome: Outcome,
        error: RecordError | None,
        reason: str,
        accepted: Accepted,
        time: float,
    ) -> Letter:
        about, about_as_text = _about(record)
        fields, as_text = pack(record)
        first_about, first_about_as_text = _about(accepted.record)
        first, first_as_text = pack(accepted.record)
        return Letter(
            acceptance=accepted.key,
            record=str(record.id),
            node=node,
            place=self._where,
            source=accepted.source,
            outcome=outcome.value,
            code=reason if error is None else error.code,
            message=reason if error is None else describe(error),
            chain=_chain(error),
            attempts=0 if error is None else error.attempt,
            replays=accepted.replays,
            time=time,
            about=about,
            fields=fields,
            accepted_about=first_about,
            accepted=first,
            as_text={"fields": as_text + about_as_text, "accepted": first_as_text + first_about_as_text},
            readable=accepted.readable,
        )


def _about(record: Record) -> tuple[str, list[str]]:
    names = ("id", "session", "priority", "meta", "port")
    return pack({name: getattr(record, name) for name in names})


def _chain(error: BaseException | None) -> list[dict[str, str]]:
    """Give an error and what it came from, the last first."""
    chain: dict[int, BaseException] = {}
    while error is not None and id(error) not in chain:
        chain[id(error)] = error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return [{"type": type(one).__name__, "message": describe(one)} for one in chain.values()]
