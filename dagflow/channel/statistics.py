"""What a channel counts and weighs: its books at one moment, and the size of a record."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagflow.record import Record


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """The books of a channel at one moment; counts of records, sizes in bytes.

    `oldest_at` is when the record came that has waited longest, where records are marked; else None.
    """

    capacity: int
    offered: int
    taken: int
    shed: int
    expired: int
    cancelled: int
    buffered: int
    buffered_bytes: int
    max_depth: int
    waiting_senders: int
    shed_reasons: Mapping[str, int]
    oldest_at: float | None = None


def payload_bytes(record: Record) -> int:
    """The size of a record's fields as UTF-8 JSON, in bytes; about that where a value has no such form."""
    try:
        return len(msgspec.json.encode(dict(record), enc_hook=_as_json))
    except Exception:  # half a surrogate pair, nesting without end, an object that fails when asked
        return sum(map(sys.getsizeof, record.values()))


def _as_json(value: object) -> object:
    return value.as_dict() if hasattr(value, "as_dict") else repr(value)
