"""The engine against hand-written code, on the same five functions.

    python benchmarks/engine.py [--rounds 5] [--count 200000]

(a) a bare loop that awaits the five functions; (b) a pipeline of five tasks over
`asyncio.Queue(512)`; (c) dagflow running the five from a TOML file, with its tickets, books and
latencies; (d) the same where the first stage's record also takes a second way and is joined at the
third; (e) the same where the third stage has eight lanes for the sessions of its records. Every
output is waited for. CPU is what the process used, start-up left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path

from measure import median, print_machine, print_table, rounds, spawn, timed

HERE = Path(__file__).parent
VARIANTS = {
    "bare": "(a) bare loop",
    "queues": "(b) asyncio.Queue",
    "dagflow": "(c) dagflow",
    "joins": "(d) with a join",
    "lanes": "(e) with lanes",
}
LANES = ["stages.inference.concurrency=8", "stages.inference.affinity=session", "sources.requests.sessions=100"]


async def bare(count: int) -> int:
    """Await five functions, record by record."""
    from five import FUNCTIONS, INPUT

    outputs = 0
    for n in range(count):
        record = {"input": INPUT, "n": n}
        for function in FUNCTIONS:
            record = await function(record)
        outputs += 1
    return outputs


async def queues(count: int) -> int:
    """Run five tasks, each between two queues, as one would write it by hand."""
    from five import FUNCTIONS, INPUT

    links = [asyncio.Queue(512) for _ in range(len(FUNCTIONS) + 1)]
    outputs = 0

    async def produce() -> None:
        for n in range(count):
            await links[0].put({"input": INPUT, "n": n})
        await links[0].put(None)

    async def work(function, inlet, outlet) -> None:
        while (record := await inlet.get()) is not None:
            await outlet.put(await function(record))
        await outlet.put(None)

    async def consume() -> None:
        nonlocal outputs
        while await links[-1].get() is not None:
            outputs += 1

    stages = [work(function, links[i], links[i + 1]) for i, function in enumerate(FUNCTIONS)]
    await asyncio.gather(produce(), *stages, consume())
    return outputs


async def dagflow(count: int) -> int:
    """Run the TOML file."""
    return await _run("engine.toml", count)


async def joins(count: int) -> int:
    """Run the file with a fork and a join."""
    return await _run("joins.toml", count)


async def lanes(count: int) -> int:
    """Run the TOML file with lanes in one stage."""
    return await _run("engine.toml", count, *LANES)


async def _run(file: str, count: int, *overrides: str) -> int:
    from five import INPUT
    from five_stages import Count, registry

    from dagflow.compile import compile_file
    from dagflow.engine.engine import Engine

    os.environ["BENCHMARK_INPUT"] = INPUT
    plan = compile_file(HERE / file, [f"sources.requests.count={count}", *overrides], registry())
    report = await Engine(plan).run()
    assert report["outcomes"]["delivered"] == count, report["outcomes"]
    return Count.arrived


def child(variant: str, count: int) -> None:
    """Measure one variant after a short warm-up, and print the figures."""
    run = {"bare": bare, "queues": queues, "dagflow": dagflow, "joins": joins, "lanes": lanes}[variant]

    async def main() -> dict[str, float]:
        await run(2_000)
        return await timed(run(count))

    print(json.dumps(asyncio.run(main())))


def report(results: dict[str, list[dict[str, float]]], count: int) -> None:
    """Print the table and the ratios."""
    print(f"five functions, {count:,} records of 200 characters, {len(results['bare'])} rounds; medians")
    rows = []
    for variant, title in VARIANTS.items():
        runs = results[variant]
        rate, cpu, peak = (
            median(r["outputs"] / r["wall_s"] for r in runs),
            median(r["cpu_s"] / r["outputs"] * 1e6 for r in runs),
            median(r["peak_mib"] for r in runs),
        )
        to_queues = median(
            (r["outputs"] / r["cpu_s"]) / (q["outputs"] / q["cpu_s"])
            for r, q in zip(runs, results["queues"], strict=True)
        )
        rows.append([title, f"{rate:,.0f}", f"{cpu:.2f}", f"{peak:.0f}", f"{to_queues:.2f}"])
    print_table(["", "requests/s", "us CPU/request", "peak MiB", "of (b), by CPU"], rows)


def main() -> None:
    """Run the rounds, or one child of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--child", choices=VARIANTS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.count)
        return
    print_machine()
    run = lambda variant: spawn(__file__, "--child", variant, "--count", options.count)  # noqa: E731
    report(rounds(options.rounds, list(VARIANTS), run), options.count)


if __name__ == "__main__":
    main()
