"""Shedding policies: which record a full channel loses.

A policy is a function of what is buffered and what comes in. It names the victim, which may
be the incoming record itself; it changes nothing. `block` and `spill` name nobody: the sender waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dagflow.channel.fifo import Fifo
    from dagflow.record import Record

Policy = Callable[["Fifo", "Record"], "Record"]


def drop_newest(_buffer: Fifo, incoming: Record) -> Record:
    """Lose the record that comes in."""
    return incoming


def drop_oldest(buffer: Fifo, _incoming: Record) -> Record:
    """Lose the record that has waited longest."""
    return buffer.oldest()


def drop_lowest(buffer: Fifo, incoming: Record) -> Record:
    """Lose the record of lowest priority; among equals the newest, so that waiting pays."""
    lowest = buffer.lowest()
    return lowest if lowest.priority < incoming.priority else incoming


POLICIES: Final[dict[str, Policy | None]] = {
    "block": None,
    "drop_newest": drop_newest,
    "drop_oldest": drop_oldest,
    "drop_lowest": drop_lowest,
    "spill": None,
}
