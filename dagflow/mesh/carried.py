"""Carried records: what the ends of an edge over a broker have in common, whichever broker it is."""

from __future__ import annotations

import re
from hashlib import blake2b
from itertools import count
from secrets import token_hex
from typing import TYPE_CHECKING, Final

from dagflow.mesh.wire import from_wire, is_from_dagflow, to_header
from dagflow.record import UnreadableInput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dagflow.errors import RecordError
    from dagflow.graph.plan import EdgePlan
    from dagflow.record import Record

_SHOWN: Final = 10_000  # bytes of an unreadable payload that are kept to be looked at
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_-]")  # for names of streams and topics alike


def carrier_name(pipeline: str, edge: EdgePlan) -> str:
    """Name the stream or topic of an edge: names of nodes have no capitals, so that no two edges have the same one."""
    start = edge.source if edge.port is None else f"{edge.source}_PORT_{edge.port}"
    return f"{fit(pipeline)}_EDGE_{start}_TO_{edge.target}"


def fit(pipeline: str) -> str:
    """Give the name of a pipeline as a part of such a name."""
    return _UNFIT.sub(lambda found: f"_{ord(found[0]):x}_", pipeline)


def carried_key(carrier: str, place: str) -> bytes:
    """Give the key of a record that was taken over: the same whenever it comes from this place of this carrier."""
    return blake2b(f"{carrier}\n{place}".encode(), digest_size=16).digest()


def take_over(headers: Mapping[str, str] | None, payload: bytes, clock: Callable[[], float]) -> Record:
    """Make the record of a message.

    Raises:
        ValueError: it is none, or of a version that this dagflow does not know.
    """
    if headers is None or not is_from_dagflow(headers):
        raise ValueError("it is no record of dagflow")
    return from_wire(headers, payload, clock)


def unreadable(fault: RecordError, payload: bytes, id: str) -> Record:
    """Give what fails in the place of a message that is no record, with what can be shown of it."""
    return UnreadableInput(fault, {"message": payload[:_SHOWN].decode(errors="replace")}, id)


class Names:
    """Gives each record that is handed over a name by which a broker knows that it has it already.

    Where the source of a record may hand it in once more after a crash, with the same key, that has the same name.
    Any other record has one of its own, since ids of records need not be unique.
    """

    def __init__(self) -> None:
        self._run = token_hex(8)
        self._numbers = count()

    def name(self, record: Record) -> str:
        """Name a record."""
        ticket = record.ticket
        key = getattr(ticket.record, "key", None) if ticket is not None and ticket.repeats else None
        return f"{self._run}:{next(self._numbers)}" if key is None else f"{key.hex()}:{to_header(record.id)}"
