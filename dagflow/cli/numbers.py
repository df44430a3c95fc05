"""Numbers as people read them: counts, durations, rates and shares."""

from __future__ import annotations

from typing import Final

_SCALES: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))


def show_count(number: int) -> str:
    """Write a count, such as `12,000`."""
    return f"{number:,}"


def show_counts(counts: dict[str, int]) -> str:
    """Write named counts, such as `11,200 delivered, 3 failed`."""
    return ", ".join(f"{show_count(number)} {name}" for name, number in counts.items())


def show_duration(seconds: float | None) -> str:
    """Write a duration in three digits, such as `1.25ms` or `2min 5s`; `-` where there is none."""
    if seconds is None:
        return "-"
    if seconds >= 99.95:
        return _clock(round(seconds))
    scale, unit = next((pair for pair in _SCALES if seconds >= 0.9995 * pair[0]), _SCALES[-1])
    return f"{_three_digits(seconds / scale)}{unit}"


def show_rate(per_second: float) -> str:
    """Write a rate, such as `640/s`."""
    return f"{per_second:,.0f}/s" if per_second >= 99.95 else f"{_three_digits(per_second)}/s"


def show_share(share: float) -> str:
    """Write a share of 1 in whole percent; 100 % only when nothing is left."""
    return f"{int(share * 100 + 1e-9)} %"


def _clock(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}min" if hours else f"{minutes}min {rest}s"


def _three_digits(number: float) -> str:
    digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
    text = f"{number:.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text
