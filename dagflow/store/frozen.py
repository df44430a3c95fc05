"""Frozen records: a record as the bytes of an entry in a spool, and what of it can be had again.

An entry is two lines of JSON: what is known of the record, and its fields. A deadline is kept as a time of day, since
the clock of a program means nothing to the next one.
"""

from __future__ import annotations

import json
from time import time
from typing import TYPE_CHECKING, Any

from dagflow.record import Record
from dagflow.store.payload import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VERSION = 2


def freeze(record: Record, clock: Callable[[], float], more: Mapping[str, Any]) -> bytes | None:
    """Make an entry of a record, with `more` that is known of it; None if it would not come back as it was."""
    deadline = None if record.deadline is None else time() + record.deadline - clock()
    about = {name: getattr(record, name) for name in ("id", "session", "priority", "meta")}
    head, lost = pack({"version": VERSION, "about": {**about, "deadline": deadline}, **more})
    fields, as_text = pack(record)
    return None if lost or as_text else f"{head}\n{fields}".encode()


def fields_of(entry: bytes) -> dict[str, Any]:
    """Give the fields of the record that an entry was made of."""
    return unpack(entry.partition(b"\n")[2].decode())


def known_of(entry: bytes) -> dict[str, Any]:
    """Give what is known of the record of an entry: `version`, and what `freeze` was given."""
    return json.loads(entry.partition(b"\n")[0])


def husk_of(entry: bytes, clock: Callable[[], float]) -> Record:
    """Make the record of an entry without its fields."""
    about = unpack(entry.partition(b"\n")[0].decode())["about"]
    deadline = None if about["deadline"] is None else clock() + about["deadline"] - time()
    return Record({}, about["id"], about["session"], about["priority"], deadline, about["meta"])
