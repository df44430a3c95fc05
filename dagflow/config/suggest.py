"""Did you mean: the nearest of some names, and only when it is near."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

CLOSE: Final = 0.72  # `topk` and `top_k`, `asemble` and `assemble`; not `model` and `mode_of_travel`


def closest(name: str, names: Iterable[str]) -> str | None:
    """Give the name nearest to `name`, or None if none is near."""
    from difflib import get_close_matches

    by_folded = {_folded(candidate): candidate for candidate in names}
    near = get_close_matches(_folded(name), by_folded, n=1, cutoff=CLOSE)
    return by_folded[near[0]] if near else None


def did_you_mean(name: str, names: Iterable[str]) -> str | None:
    """Word the nearest name as a hint, or give None."""
    near = closest(name, names)
    return f"did you mean `{near}`?" if near else None


def _folded(name: str) -> str:
    return name.lower().replace("-", "_")
