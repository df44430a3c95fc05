"""Stages that wait: how close dagflow comes to the ideal time, and how many waits it can juggle.

    python benchmarks/slots.py [--rounds 3]

A 5 ms stage and then a 50 ms one, at concurrency 64 and 256: 2,000 records against the ideal
time, which is that of the slower stage's slots plus one pass through the other. Then a 5 ms and
a 10 ms stage at concurrency 256: records per second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math

from measure import median, print_machine, print_table, rounds, spawn, timed

FILE = """
[pipeline]
edges = [{{ from = "in", to = "first" }}, {{ from = "first", to = "second" }}, {{ from = "second", to = "out" }}]
[sources.in]
type = "generate"
count = {count}
[stages.first]
type = "sleep"
delay = "{first_ms}ms"
concurrency = {concurrency}
[stages.second]
type = "sleep"
delay = "{second_ms}ms"
concurrency = {concurrency}
[sinks.out]
type = "null"
"""

CASES = {
    "64": {"count": 2_000, "first_ms": 5, "second_ms": 50, "concurrency": 64},
    "256": {"count": 2_000, "first_ms": 5, "second_ms": 50, "concurrency": 256},
    "rate": {"count": 30_000, "first_ms": 5, "second_ms": 10, "concurrency": 256},
}


def ideal_s(case: dict[str, int]) -> float:
    """The time that a perfect scheduler would need."""
    first = math.ceil(case["count"] / case["concurrency"]) * case["first_ms"]
    second = math.ceil(case["count"] / case["concurrency"]) * case["second_ms"]
    return (max(first, second) + min(case["first_ms"], case["second_ms"])) / 1000


async def run(case: dict[str, int]) -> int:
    """Run the file and give how many records were delivered."""
    from dagflow.compile import compile_text
    from dagflow.engine.engine import Engine

    report = await Engine(compile_text(FILE.format(**case))).run()
    assert report["outcomes"]["delivered"] == case["count"], report["outcomes"]
    return report["outcomes"]["delivered"]


def child(name: str) -> None:
    """Measure one case after a short warm-up, and print the figures."""
    case = CASES[name]

    async def main() -> dict[str, float]:
        await run({**case, "count": 500})
        return await timed(run(case))

    print(json.dumps(asyncio.run(main())))


def main() -> None:
    """Run the rounds, or one child of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", choices=CASES)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    print_machine()
    results = rounds(options.rounds, list(CASES), lambda name: spawn(__file__, "--child", name))
    rows = []
    for name, runs in results.items():
        case = CASES[name]
        wall, ideal = median(r["wall_s"] for r in runs), ideal_s(case)
        title = f"{case['first_ms']} ms, {case['second_ms']} ms, concurrency {case['concurrency']}"
        rows.append(
            [
                title,
                f"{case['count']:,}",
                f"{wall:.3f}",
                f"{ideal:.3f}",
                f"{wall / ideal:.2f}",
                f"{case['count'] / wall:,.0f}",
            ]
        )
    print_table(["stages", "records", "seconds", "ideal", "of ideal", "records/s"], rows)


if __name__ == "__main__":
    main()
