"""Faults and Unfinished: what went wrong with records, and which of them a forced end cut off.

Failures are grouped by node and code, with one example each.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagflow.errors import NotAStageResult, PluginBug, RecordError, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from dagflow.record import Record, Ticket
    from dagflow.redaction import Redactor


@dataclass(slots=True)
class Fault:
    """One kind of failure at one node; `record` and `message` are of its first case."""

    node: str
    code: str
    record: str
    message: str
    count: int = 0


class Faults:
    """Counts failures. Bounded by nodes times codes, since codes come from classes.

    Attributes:
        on_final: told of each failure that no later record can escape.
    """

    __slots__ = ("_by_kind", "_log", "_redactor", "on_final")

    def __init__(self, log: Any, redactor: Redactor) -> None:
        self._by_kind: dict[tuple[str, str], Fault] = {}
        self._log = log
        self._redactor = redactor
        self.on_final: Callable[[Record, RecordError], None] = lambda record, error: None

    def clean(self, error: RecordError) -> RecordError:
        """Take the secrets out of an error, before it is told to anybody or becomes a field."""
        return self._redactor.scrub(error)

    def note(self, record: Record, error: RecordError) -> RecordError:
        """Count one failure, log it and give its error, clean; the first bug of a kind is logged with its traceback."""
        error = self.clean(error)
        key = (error.node or "", error.code)
        fault, text = self._by_kind.get(key), describe(error)
        cause = error.__cause__ if isinstance(error, PluginBug) and fault is None else None
        if fault is None:
            fault = self._by_kind[key] = Fault(key[0], error.code, record.id, text)
        told = {"node": error.node, "record": record.id, "code": error.code, "error": text, **_trace_of(record)}
        self._log.warning("record failed", exc_info=cause, **told)
        fault.count += 1
        if error.ends_run:
            self.on_final(record, error)
        return error

    def as_list(self) -> list[dict[str, Any]]:
        """Give all faults as JSON-like values, most frequent first."""
        faults = sorted(self._by_kind.values(), key=lambda fault: -fault.count)
        return [{name: getattr(fault, name) for name in Fault.__slots__} for fault in faults]


class Unfinished:
    """The records that a forced end left unfinished, and where they were. Bounded by those in flight."""

    __slots__ = ("_live", "_places")

    def __init__(self, live: Collection[Ticket]) -> None:
        """Take the tickets in flight: a best-effort branch has a ticket too, but leaves no record unfinished."""
        self._live = live
        self._places: dict[Ticket, str] = {}

    def __len__(self) -> int:
        return len(self._places)

    def note(self, record: Record, place: str) -> None:
        """Note a record by its first branch that was found."""
        if record.ticket in self._live:
            self._places.setdefault(record.ticket, place)

    def as_list(self) -> list[dict[str, str]]:
        """Give them as JSON-like values."""
        return [{"id": ticket.record.id, "where": place} for ticket, place in self._places.items()]


def _trace_of(record: Record) -> dict[str, str]:
    """Give the trace that a record belongs to, where it is traced."""
    trail = record.ticket.trail if record.ticket is not None else None
    return {} if trail is None or trail.trace is None else {"trace": f"{trail.trace.trace_id:032x}"}


def is_interruption(error: BaseException) -> bool:
    """Whether this ends the task, or the program: all else that a plugin raises is the plugin's own affair.

    A plugin that awaits a task of its own which was cancelled raises `CancelledError` too, and
    libraries have exceptions of their own beside `Exception`, such as the panics of Rust code.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)


def unknown_port(port: object) -> NotAStageResult:
    """Give the error of a record that a plugin sent to a port that it did not declare."""
    return NotAStageResult(f"a record for the port `{port}`", "one of the ports that it declares")


def as_record_error(error: BaseException, node: str, attempt: int = 1) -> RecordError:
    """Give the error that a record fails with: a plugin's own, or a bug that wraps anything else."""
    if not isinstance(error, RecordError):
        bug = PluginBug(error)
        bug.__cause__ = error
        error = bug
    if error.node is None:
        error.node, error.attempt = node, attempt
    return error
