"""Mark: a record in flight as a checkpoint sees it, from its acceptance to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter

    from dagflow.errors import RecordError
    from dagflow.record import Record
    from dagflow.store.checkpoint import Written


class Mark:
    """What a checkpoint knows of one record that is in flight.

    The ids that sinks see begin with that of the record, which may be another one in the next run, if lines were moved:
    only what follows it is kept.

    Attributes:
        source, key: which record it is, over runs.
        id: the one it has in this run.
        written: the edges by which sinks have taken it in this run, and under which ids.
        had: those that had taken it when this run began, and have not been asked yet; they do not take it again.
        earlier: all that had taken it when this run began.
        ended: whether it has ended; a best-effort branch of it may come to a sink later.
        is_done: whether it is done then.
        error: what it fails with instead of being worked on; None for most.
        is_suspect: whether it is tried alone, as it may be what brought processes down.
    """

    __slots__ = ("earlier", "ended", "error", "had", "id", "is_done", "is_suspect", "key", "source", "written")

    def __init__(self, source: str, key: bytes, id: str, had: Counter[tuple[str, str]] | None) -> None:
        self.source = source
        self.key = key
        self.id = id
        self.written: list[tuple[str, str]] = []
        self.had = had
        self.earlier = [] if had is None else list(had.elements())
        self.ended = self.is_done = self.is_suspect = False
        self.error: RecordError | None = None

    @property
    def origin(self) -> tuple[str, bytes]:
        """What tells it from all others."""
        return self.source, self.key

    def take_written(self, edge: str, rest: str) -> bool:
        """Say whether a sink has it of an earlier run, once for each time."""
        if self.had is None or not self.had[edge, rest]:
            return False
        self.had[edge, rest] -= 1
        return True

    def rest(self, record: Record) -> str:
        """Give what the id of a record that was made of it has behind its own."""
        return record.id.removeprefix(self.id)

    @property
    def all_written(self) -> list[tuple[str, str]]:
        """The edges by which sinks have taken it in any run, and under which ids."""
        return self.earlier + self.written

    @property
    def taken(self) -> list[Written]:
        """What sinks have taken of it in this run."""
        return [(self.source, self.key, edge, id) for edge, id in self.written]
