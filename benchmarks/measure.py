"""What all benchmarks share: children in processes of their own, medians, and a table.

A benchmark runs its variants in turn, each in a fresh process, several rounds; ratios are
taken within a round, since a shared machine changes its speed from one minute to the next.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any


def spawn(script: str, *arguments: object) -> dict[str, Any]:
    """Run a script in a process of its own and give the JSON object that it printed last."""
    command = [sys.executable, script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


async def timed(work: Awaitable[int]) -> dict[str, float]:
    """Await something that returns how many outputs it made; measure wall, CPU and peak memory."""
    wall, cpu = time.perf_counter(), time.process_time()
    outputs = await work
    return {
        "outputs": outputs,
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def rounds(
    count: int, variants: Sequence[str], run: Callable[[str], dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """Run every variant once a round, in turn; a line of progress on standard error."""
    results: dict[str, list[dict[str, Any]]] = {variant: [] for variant in variants}
    for number in range(count):
        for variant in variants:
            results[variant].append(run(variant))
        print(f"round {number + 1} of {count}", file=sys.stderr, flush=True)
    return results


def median(values: Iterable[float]) -> float:
    """The median."""
    return statistics.median(values)


def print_machine() -> None:
    """State what the figures were taken on."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load}")


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print an aligned table: the first column left, all others right."""
    cells = [list(map(str, row)) for row in [header, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        first, *rest = row
        print("  ".join([first.ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(rest, widths[1:], strict=True))]))
