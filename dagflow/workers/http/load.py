"""Load: how much a vLLM server has to do, as its `/metrics` tell.

The names are those of vLLM, old and new. A server has a line for each model and engine; they are summed.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

_LINE: Final = re.compile(
    r"^vllm[:_](num_requests_running|num_requests_waiting|num_requests_swapped|kv_cache_usage_perc|gpu_cache_usage_perc)"
    r"(?:\{.*\})?[ \t]+(\S+)",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Load:
    """What a server has to do.

    Attributes:
        running: calls that it works on.
        waiting: calls that wait for their turn.
        cache: the share of its cache that is in use, 0 to 1; the fullest one, where there are several.
    """

    running: int
    waiting: int
    cache: float = 0.0

    @property
    def calls(self) -> int:
        """All calls that it has."""
        return self.running + self.waiting

    def __str__(self) -> str:
        return f"{self.running} running, {self.waiting} waiting, its cache {self.cache:.0%} full"


def read_load(text: str) -> Load | None:
    """Read metrics in Prometheus' text form; None where they don't tell."""
    found: dict[str, list[float]] = {}
    for name, value in _LINE.findall(text):
        with suppress(ValueError):
            number = float(value)
            if math.isfinite(number):
                found.setdefault(name, []).append(number)
    if not found.get("num_requests_running"):
        return None
    waiting = sum(found.get("num_requests_waiting", [])) + sum(found.get("num_requests_swapped", []))
    shares = found.get("kv_cache_usage_perc") or found.get("gpu_cache_usage_perc") or [0.0]
    return Load(round(sum(found["num_requests_running"])), round(waiting), max(shares))
