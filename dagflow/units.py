"""Durations, sizes and rates: strings with a unit in the file, plain numbers inside.

Each kind has a `parse_*` (text to number, ValueError that says what was expected) and a
`render_*` (number to the shortest exact text).
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Final

_DURATIONS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES: Final = {
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
_PERIODS: Final = {
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
}
_MULTIPLES: Final = {"": 1, "k": 1000, "M": 1000**2}

DURATION_PATTERN: Final = r"^(\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d)$"
SIZE_PATTERN: Final = r"^(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|KiB|MiB|GiB)$"
RATE_PATTERN: Final = r"^(\d+(?:\.\d+)?)\s*([kM]?)(?:\s+([a-z]+))?\s*/\s*(s|sec|second|min|minute|h|hour|d|day)$"


def parse_duration(text: str) -> float:
    """Read `250ms`, `30s`, `2min`, `1h` or `7d` as seconds."""
    match = re.fullmatch(DURATION_PATTERN, text.strip())
    if match is None:
        raise ValueError('expected a duration with a unit, such as "250ms", "30s" or "5min"')
    return float(match[1]) * _DURATIONS[match[2]]


def parse_moment(text: str, now_s: float) -> float:
    """Read a time as seconds since the epoch: an ISO time, of this place if it does not say, or an age.

    Raises:
        ValueError: it is neither.
    """
    try:
        return now_s - parse_duration(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        expected = "expected a time such as `2026-05-01T12:00`, or an age such as `2h`"
        raise ValueError(f"`{text}` is no time; {expected}") from None


def render_duration(seconds: float) -> str:
    """Write seconds with the largest unit that keeps the number whole, else in seconds."""
    for unit in ("d", "h", "min", "s", "ms", "us"):
        count = seconds / _DURATIONS[unit]
        if count >= 1 and math.isclose(count, round(count), rel_tol=1e-9):
            return f"{round(count)}{unit}"
    return f"{seconds:g}s"


def parse_size(text: str) -> int:
    """Read `64KiB`, `10MB` or `512B` as bytes."""
    match = re.fullmatch(SIZE_PATTERN, text.strip())
    if match is None:
        raise ValueError('expected a size with a unit, such as "64KiB", "10MB" or "512B"')
    return round(float(match[1]) * _SIZES[match[2]])


def render_size(size_bytes: int) -> str:
    """Write bytes with the largest unit that keeps the number whole."""
    for unit, factor in sorted(_SIZES.items(), key=lambda item: -item[1]):
        if size_bytes >= factor and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return f"{size_bytes}B"


def parse_rate(text: str, what: str | None = None) -> float:
    """Read `60/min`, `100/s` or `200k tokens/min` as a number a second.

    `what` is the noun that may stand in it, such as `tokens`.
    """
    match = re.fullmatch(RATE_PATTERN, text.strip())
    if match is None or (match[3] and match[3] != what):
        raise ValueError('expected a rate, such as "60/min" or "100/s"')
    return float(match[1]) * _MULTIPLES[match[2]] / _PERIODS[match[4]]


def render_rate(per_second: float) -> str:
    """Write a rate with the shortest period that keeps the number whole."""
    for unit in ("s", "min", "h", "d"):
        count = per_second * _PERIODS[unit]
        if math.isclose(count, round(count), rel_tol=1e-9) and count >= 1:
            return f"{round(count)}/{unit}"
    return f"{per_second:g}/s"


def parse_allowance(text: str, what: str | None = None) -> tuple[int, float]:
    """Read `60/min` or `200k tokens/min` as a whole number above 0 and the time for it, in seconds.

    `what` is the noun that may stand in it, such as `tokens`.
    """
    match = re.fullmatch(RATE_PATTERN, text.strip())
    amount = 0.0 if match is None else float(match[1]) * _MULTIPLES[match[2]]
    if match is None or (match[3] and match[3] != what) or amount < 1 or amount != int(amount):
        example = f"200k {what}/min" if what else "60/min"
        raise ValueError(f'expected a whole number for a time, such as "{example}" or "5/s"')
    return int(amount), _PERIODS[match[4]]


def render_allowance(allowance: tuple[int, float]) -> str:
    """Write a number for a time, such as `60/min`."""
    amount, period_s = allowance
    return f"{amount}/{next(unit for unit, length_s in _PERIODS.items() if length_s == period_s)}"
