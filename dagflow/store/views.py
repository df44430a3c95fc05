"""Views: dead letters as JSON-like values, in the shape that programs get."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dagflow.store.payload import unpack

if TYPE_CHECKING:
    from dagflow.store.letter import Letter

_HEAD = ("record", "node", "place", "source", "outcome", "code", "message", "chain", "attempts", "replays")


def describe_head(letter: Letter) -> dict[str, Any]:
    """Give what a letter says of how its record ended: nothing of the record but its id."""
    time = datetime.fromtimestamp(letter.time, UTC).isoformat()
    return {"id": letter.id, "time": time, **{name: getattr(letter, name) for name in _HEAD}}


def describe_letter(letter: Letter) -> dict[str, Any]:
    """Give all of a letter: the head, and the record as it entered the node and as it was handed in."""
    about = unpack(letter.about)
    return {
        **describe_head(letter),
        **{name: about[name] for name in ("session", "priority", "meta")},
        "fields": unpack(letter.fields),
        "accepted": unpack(letter.accepted),
        "as_text": letter.as_text,
    }
