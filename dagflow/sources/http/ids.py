"""Ids: of requests and answers, hard to guess. The operating system is asked for many at a time."""

from __future__ import annotations

from os import urandom
from typing import Final

_BYTES: Final = 12
_AT_A_TIME: Final = 128

_drawn: list[str] = []


def new_id() -> str:
    """Give a new id, of 24 hexadecimal digits."""
    if not _drawn:
        drawn = urandom(_BYTES * _AT_A_TIME).hex()
        _drawn.extend(drawn[at : at + 2 * _BYTES] for at in range(0, len(drawn), 2 * _BYTES))
    return _drawn.pop()
