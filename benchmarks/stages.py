"""Latency of each stage of the example pipeline under a steady load, against its targets.

    python benchmarks/stages.py [--rates 100 500] [--seconds 20]

The example's questions come at a steady rate from a source that never ends; latency is that of
the stage's own work, and end to end from acceptance to delivery. Targets are p99, in ms.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from measure import print_machine, print_table, spawn

ROOT = Path(__file__).parents[1]
TARGETS_MS = {"rag": 10, "assemble": 5, "inference": 500, "post": 10, "stream": 5, "end to end": 600}


def steady_source(rate: float, seconds: float) -> Any:
    """Build a source that hands the questions in at a rate, and takes the time until each is settled."""
    from dagflow.plugin import Source
    from dagflow.record import Outcome, Record
    from dagflow.telemetry.instruments import Histogram

    class Steady(Source):
        finite = True

        def __init__(self) -> None:
            super().__init__()
            self.latency = Histogram()
            self.delivered = 0
            self._accepted_at: dict[str, float] = {}

        async def records(self) -> AsyncIterator[Record]:
            lines = (ROOT / "pipelines" / "questions.jsonl").read_text().splitlines()
            questions = itertools.cycle(json.loads(line)["input"] for line in lines)
            clock = self.context.clock
            start = clock()
            for n in range(int(rate * seconds)):
                await asyncio.sleep(max(0.0, start + n / rate - clock()))
                self._accepted_at[str(n)] = start + n / rate  # when it was due: waiting at the door counts
                yield Record({"input": next(questions)}, str(n))

        def settle(self, record: Record, outcome: Outcome) -> None:
            self.latency.observe(int((self.context.clock() - self._accepted_at.pop(record.id)) * 1e9))
            self.delivered += outcome is Outcome.DELIVERED

    return Steady()


def child(rate: float, seconds: float) -> None:
    """Run the example at a rate, and print p50 and p99 of each stage in ms."""
    from dagflow.compile import compile_file
    from dagflow.engine.engine import Engine

    async def main() -> dict[str, Any]:
        warm, source = steady_source(50, 2), steady_source(rate, seconds)
        plan = compile_file(ROOT / "pipeline.example.toml")
        await Engine(plan, substitutes={"questions": warm}).run()
        report = await Engine(plan, substitutes={"questions": source}).run()
        assert source.delivered == report["accepted"] == int(rate * seconds), report["outcomes"]
        rows = {name: [row["p50_s"] * 1e3, row["p99_s"] * 1e3] for name, row in report["nodes"].items() if row["p50_s"]}
        rows["end to end"] = [source.latency.quantile_s(0.5) * 1e3, source.latency.quantile_s(0.99) * 1e3]
        return {"rows": rows, "records": report["accepted"]}

    print("\n" + json.dumps(asyncio.run(main())))


def main() -> None:
    """Run each rate in a process of its own, or be one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[100, 500])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--child", type=float, metavar="RATE")
    options = parser.parse_args()
    if options.child:
        child(options.child, options.seconds)
        return
    print_machine()
    results = {rate: spawn(__file__, "--child", rate, "--seconds", options.seconds)["rows"] for rate in options.rates}
    header = ["stage", "target p99", *(f"{kind} at {rate:g}/s" for rate in results for kind in ("p50", "p99"))]
    rows = []
    for name, target in TARGETS_MS.items():
        figures = [f"{value:.2f}" for rows_of in results.values() for value in rows_of[name]]
        rows.append([name, target, *figures])
    print(f"milliseconds; {options.seconds:g} s at each rate")
    print_table(header, rows)


if __name__ == "__main__":
    main()
