"""Trace contexts as they travel between programs: the header `traceparent` (W3C Trace Context, version 00)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import getrandbits
from typing import Final

_FORM: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_SAMPLED: Final = 1


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The span of one record, and the trace that it belongs to.

    Attributes:
        parent_id: the span of whoever sent the record; None where the trace begins here.
        sampled: whether the trace is kept, as far as is known at its beginning.
    """

    trace_id: int
    span_id: int
    parent_id: int | None
    sampled: bool

    def header(self, span_id: int) -> str:
        """Give the `traceparent` for a call that has this span."""
        return f"00-{self.trace_id:032x}-{span_id:016x}-{self.sampled:02x}"


def new_span_id() -> int:
    """Draw the id of a span; 0 is none."""
    return getrandbits(64) or 1


def begin_trace(header: object, share: float) -> TraceContext:
    """Go on with the trace of a `traceparent`, or begin one, of which this share is sampled.

    Whoever began the trace has decided about it. The decision for a new one follows from its id, so that other
    programs with the same share decide alike.
    """
    found = _FORM.fullmatch(header) if isinstance(header, str) else None
    if found is None:
        trace_id = getrandbits(128) or 1
        return TraceContext(trace_id, new_span_id(), None, (trace_id & (2**56 - 1)) < share * 2**56)
    trace_id, parent_id, flags = (int(part, 16) for part in found.groups())
    return TraceContext(trace_id, new_span_id(), parent_id, bool(flags & _SAMPLED))


def is_traceparent(header: str) -> bool:
    """Whether a text is a `traceparent`."""
    return _FORM.fullmatch(header) is not None
