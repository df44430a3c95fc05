"""Record, Ticket and Outcome: what travels, what stands for it, and how it ends.

A `Record` is a dict of its fields with a few attributes beside them. A `Ticket` stands for
one accepted record through all its branches; it is settled once, with one `Outcome`, and its
owner (the source's runner, or a best-effort edge) is told then.

Invariants: a live record has a ticket; a ticket counts its live branches; whoever ends a
branch calls `Ticket.end` for it exactly once.
"""

from __future__ import annotations

from copy import deepcopy
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dagflow.errors import RecordError
    from dagflow.ticket_owner import TicketOwner
    from dagflow.trail import Trail

NO_META: Final[Mapping[str, Any]] = MappingProxyType({})

# Names that conditions and templates may always use, beside the fields of the record.
ALWAYS_READABLE: Final = frozenset({"id", "session", "priority", "deadline", "meta"})


class Outcome(StrEnum):
    """How a record ended. The order is the precedence among the branches of one ticket.

    `HANDED_OFF` is no end of the record, but of what this program has to do with it: a transport has it, and another
    program, or this one once more, takes it over and gives it its outcome.
    """

    FAILED = "failed"
    EXPIRED = "expired"
    SHED = "shed"
    CANCELLED = "cancelled"
    HANDED_OFF = "handed off"
    DELIVERED = "delivered"
    FILTERED = "filtered"


_RANK: Final = {outcome: rank for rank, outcome in enumerate(Outcome)}
_BY_RANK: Final = tuple(Outcome)
GOOD: Final = frozenset({Outcome.DELIVERED, Outcome.FILTERED, Outcome.HANDED_OFF})
"""Those of records that came through."""
_NOTHING: Final = len(_BY_RANK)  # the rank of a ticket to which no branch has contributed yet


class Record(dict[str, Any]):
    """Named fields that travel together.

    Values are JSON-like, or a `Completion`; they are immutable by contract, since branches
    share them. Two records are equal only if they are the same object.

    Attributes:
        id: names the record in reports and logs; need not be unique.
        session: records of one session belong together; None for none.
        priority: higher is more important; 0 is the default.
        deadline: the point on the pipeline's clock, in seconds, after which an answer is useless.
        meta: what came with the record but is no field; read-only.
        port: the port of the node through which the record leaves; None is the main output.
        ticket: the engine's, not the plugin's; None before acceptance.
        key: a hash of the input that it was made of, 16 bytes; set by resumable sources alone.
        reply_to: where somebody at another machine waits for its answer; set by sources that take over alone.
    """

    __slots__ = (
        "deadline",
        "id",
        "key",
        "meta",
        "port",
        "priority",
        "queued_at",
        "reply_to",
        "session",
        "size_bytes",
        "ticket",
    )

    __eq__ = object.__eq__  # type: ignore[assignment]
    __ne__ = object.__ne__  # type: ignore[assignment]
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(
        self,
        fields: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        id: str = "",
        session: str | None = None,
        priority: int = 0,
        deadline: float | None = None,
        meta: Mapping[str, Any] = NO_META,
    ) -> None:
        dict.__init__(self, fields)
        self.id = id
        self.session = session
        self.priority = priority
        self.deadline = deadline
        self.meta = meta
        self.port: str | None = None
        self.ticket: Ticket | None = None

    def copy(self) -> Record:
        """Copy shallowly: own fields, shared values, the same ticket."""
        twin = Record(self, self.id, self.session, self.priority, self.deadline, self.meta)
        twin.port = self.port
        twin.ticket = self.ticket
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Record:
        """Copy the values too; the ticket stays the same one."""
        twin = self.copy()
        twin.update({name: deepcopy(value, memo) for name, value in self.items()})
        return twin

    def __repr__(self) -> str:
        return f"Record({self.id!r}, fields={sorted(self)})"


class UnreadableInput(Record):
    """What a source yields for input that is no record: it is accepted, and fails with `error`."""

    __slots__ = ("error",)

    def __init__(self, error: RecordError, fields: Mapping[str, Any] = MappingProxyType({}), id: str = "") -> None:
        super().__init__(fields, id)
        self.error = error


class RefusedInput(UnreadableInput):
    """What a source yields for a record that it does not send on: it is accepted, and fails with `error`.

    Unlike other input that fails at once, it is a record, and can be replayed as one.
    """

    __slots__ = ()

    def __init__(self, error: RecordError, record: Record) -> None:
        super().__init__(error, record, record.id)
        self.session, self.priority, self.deadline = record.session, record.priority, record.deadline
        self.meta = record.meta


class Ticket:
    """One accepted record, in all its branches.

    Attributes:
        record: the record as its source handed it in (stages may have changed its fields since).
        branches: live branches; the ticket settles when the last one ends.
        extra: branches beyond the first that a splitting stage made, ended or not.
        error: the first error of the branches that failed; None if none did.
        cancelled: set once somebody asked for cancellation.
        running: callables that interrupt the work now done for this ticket.
        answer: what a `reply` sink handed back; see `reply`.
        delivered: the record as the first sink took it; noted only if the source can cancel.
        gatherings: what each join has of it; None until a join has to know of it.
        handed_off: how many branches a transport took.
        far, far_error: how it ended at another machine, where somebody waits here for that.
        waits: whether somebody waits here for its answer.
        repeats: whether its source may hand it in once more, with the same key, after a crash.
        accepted: what dead letters say of its acceptance; None where none is kept of it.
        trail: what happened to it on its way; None where nobody wants to know.
        mark: what the checkpoint knows of it; None where there is none.
        kept: whether dead letters of it are in the store; None where none was to be made, False where one failed, or a
            branch was left to a later run.
    """

    __slots__ = (
        "_rank",
        "accepted",
        "answer",
        "branches",
        "cancelled",
        "delivered",
        "error",
        "extra",
        "far",
        "far_error",
        "gatherings",
        "handed_off",
        "kept",
        "mark",
        "owner",
        "record",
        "repeats",
        "running",
        "trail",
        "waits",
    )

    def __init__(self, record: Record, owner: TicketOwner) -> None:
        self.record = record
        self.owner = owner
        self.branches = 1
        self.extra = self.handed_off = 0
        self.repeats = self.waits = False
        self.far: Outcome | None = None
        self.far_error: RecordError | None = None
        self.error: RecordError | None = None
        self.cancelled = False
        self.running: set[Callable[[], object]] | None = None
        self.answer: Record | None = None
        self.delivered: Record | None = None
        self.gatherings: dict[Any, Any] | None = None
        self.accepted: Any = None
        self.trail: Trail | None = None
        self.mark: Any = None
        self.kept: bool | None = None
        self._rank = _NOTHING

    @property
    def outcome(self) -> Outcome | None:
        """The outcome so far: that of the weightiest branch that has ended; None if none has."""
        return _BY_RANK[self._rank] if self._rank < _NOTHING else None

    def is_done(self, outcome: Outcome) -> bool:
        """Whether nothing of it is left to do: it came through, or what became of it is kept."""
        return outcome in GOOD or (outcome is not Outcome.CANCELLED and self.kept is True)

    def is_cut_off(self, outcome: Outcome) -> bool:
        """Whether its work was cut short here though nobody wanted it cancelled, so that it may go on elsewhere."""
        return self.kept is False or (outcome is Outcome.CANCELLED and not self.cancelled)

    def fork(self, count: int) -> None:
        """Add `count` branches to those that are live: the record goes several ways."""
        self.branches += count

    def split(self, count: int) -> None:
        """Add `count` branches: a stage made more records of one. They count as in flight."""
        self.branches += count
        self.extra += count
        self.owner.on_split(self, count)

    def cancel(self) -> None:
        """Have all live branches end as cancelled, wherever they are; twice is fine."""
        if not self.cancelled:
            self.cancelled = True
            self.owner.on_cancel(self)

    def end(self, outcome: Outcome, error: RecordError | None = None) -> None:
        """End one branch; the last one settles the ticket with the weightiest outcome.

        Raises:
            RuntimeError: every branch had ended before; somebody ended one twice.
        """
        rank = _RANK[outcome]
        if rank < self._rank:
            self._rank = rank
        if outcome is Outcome.HANDED_OFF:
            self.handed_off += 1
        if error is not None and self.error is None:
            self.error = error
        self.branches -= 1
        if self.branches <= 0:
            if self.branches < 0:
                raise RuntimeError(f"a branch of record {self.record.id!r} was ended twice")
            self.owner.on_settled(self, _BY_RANK[self._rank])

    def contribute(self, outcome: Outcome, error: RecordError | None = None) -> None:
        """Let an outcome count for the ticket, as that of a branch that has been or will be released."""
        self._rank = min(self._rank, _RANK[outcome])
        self.handed_off += outcome is Outcome.HANDED_OFF
        if self.error is None:
            self.error = error

    def note_far(self, outcome: Outcome, error: RecordError | None) -> None:
        """Note how it ended at another machine; of several, the weightiest outcome counts."""
        if self.far is None or _RANK[outcome] < _RANK[self.far]:
            self.far, self.far_error = outcome, error

    def let_go(self) -> None:
        """Forget the records and the error, once the owner has seen the outcome.

        They refer back to the ticket; each would keep the other until the next garbage collection.
        """
        self.record.ticket = self.answer = self.delivered = None
        self.error = self.far_error = self.gatherings = self.accepted = None

    def release(self) -> None:
        """End one branch that contributes no outcome, since others carry on for it."""
        self.branches -= 1
        if self.branches == 0:
            self.owner.on_settled(self, self.outcome or Outcome.FILTERED)

    def reply(self, answer: Record) -> bool:
        """Hand an answer back to whoever submitted the record; the first one wins.

        Returns:
            Whether this was the first answer.
        """
        if self.answer is not None:
            return False
        self.answer = answer
        self.owner.on_answer(self, answer)
        return True
