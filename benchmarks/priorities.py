"""Overload with priorities: what the most important records wait, and who pays for it.

    python benchmarks/priorities.py [--rounds 3] [--seconds 4]

A stage of 32 slots that each take about 20 ms (log-normal, sigma 0.3: model servers vary; slots that
all took the same time would all come free at once), behind an edge with `order = "priority"` and
`when_full = "drop_lowest"`. Records of three classes, 2 in 10 of them of the highest, come at a
tenth of the stage's capacity (idle), and at three times the capacity. Latency is from acceptance to
outcome.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter, defaultdict
from importlib.metadata import EntryPoint
from time import perf_counter
from typing import ClassVar

from measure import median, print_machine, print_table, rounds, spawn

from dagflow.record import Outcome
from dagflow.sources.generate import Generate

SLOTS, DELAY_MS = 32, 20
CAPACITY = SLOTS * 1000 // DELAY_MS  # records a second
LOADS = {"idle": 0.1, "overload": 3.0}

FILE = f"""
[pipeline]
edges = [
  {{ from = "in", to = "work", order = "priority", when_full = "drop_lowest", capacity = 256 }},
  {{ from = "work", to = "out" }},
]
[sources.in]
type = "timed"
priorities = [2, 2, 1, 1, 1, 0, 0, 0, 0, 0]
[stages.work]
type = "sleep"
delay = "lognormal({DELAY_MS}ms, 0.3)"
concurrency = {SLOTS}
[sinks.out]
type = "null"
"""


class Timed(Generate):
    """Notes how long each record took, by priority and outcome."""

    took: ClassVar[defaultdict[int, list[float]]] = defaultdict(list)
    ends: ClassVar[Counter[tuple[int, Outcome]]] = Counter()

    async def records(self):
        """Stamp each record."""
        async for record in super().records():
            record["came"] = perf_counter()
            yield record

    def settle(self, record, outcome):
        """Note how a record ended."""
        self.ends[record.priority, outcome] += 1
        if outcome is Outcome.DELIVERED:
            self.took[record.priority].append(perf_counter() - record["came"])


def child(load: str, seconds: float) -> None:
    """Run one load and print latencies in milliseconds and shares shed, by priority."""
    from dagflow.compile import compile_text
    from dagflow.engine.engine import Engine
    from dagflow.registry import Registry

    own = [EntryPoint("timed", "priorities:Timed", "dagflow.sources")]
    builtin = [
        EntryPoint("sleep", "dagflow.stages.sleep:Sleep", "dagflow.stages"),
        EntryPoint("null", "dagflow.sinks.null:Null", "dagflow.sinks"),
        EntryPoint("memory", "dagflow.transports.memory:Memory", "dagflow.transports"),
    ]
    rate = round(CAPACITY * LOADS[load])
    overrides = [f"sources.in.rate={rate}/s", f"sources.in.count={round(rate * seconds)}"]
    asyncio.run(Engine(compile_text(FILE, overrides=overrides, registry=Registry([*own, *builtin]))).run())
    from priorities import Timed

    rows = {}
    for priority, took in sorted(Timed.took.items(), reverse=True):
        took.sort()
        count = sum(n for (p, _), n in Timed.ends.items() if p == priority)
        rows[priority] = {
            "p50_ms": took[len(took) // 2] * 1000,
            "p99_ms": took[len(took) * 99 // 100] * 1000,
            "shed": Timed.ends[priority, Outcome.SHED] / count,
        }
    print(json.dumps(rows))


def _cells(runs: list[dict], idle: list[dict], priority: str) -> list[str]:
    """The medians of one class under one load; some records of each class are delivered at the start of a run."""
    p50, p99, shed = (median(run[priority][key] for run in runs) for key in ("p50_ms", "p99_ms", "shed"))
    ratio = median(run[priority]["p99_ms"] / other[priority]["p99_ms"] for run, other in zip(runs, idle, strict=True))
    return [f"{p50:.1f}", f"{p99:.1f}", f"{shed:.1%}", f"{ratio:.2f}"]


def main() -> None:
    """Run the rounds, or one child of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--child", choices=LOADS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.seconds)
        return
    print_machine()
    run = lambda load: spawn(__file__, "--child", load, "--seconds", options.seconds)  # noqa: E731
    results = rounds(options.rounds, list(LOADS), run)
    rows = [
        [f"{load}, priority {priority}", *_cells(runs, results["idle"], priority)]
        for load, runs in results.items()
        for priority in ("2", "1", "0")
    ]
    print_table(["load and class", "p50 ms", "p99 ms", "shed", "p99 of idle"], rows)


if __name__ == "__main__":
    main()
