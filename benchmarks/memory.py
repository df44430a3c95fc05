"""Memory over a million records: it must not grow.

    python benchmarks/memory.py [--count 1000000]

Runs the engine benchmark's file once and samples the resident size; prints it at each tenth of
the run, and the growth from the second tenth to the last.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

from measure import print_machine

HERE = Path(__file__).parent


def resident_mib() -> float:
    """The resident size of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def run(count: int) -> list[float]:
    """Run the file and give the resident size at each tenth."""
    from five import INPUT
    from five_stages import Count, registry

    from dagflow.compile import compile_file
    from dagflow.engine.engine import Engine

    os.environ["BENCHMARK_INPUT"] = INPUT
    plan = compile_file(HERE / "engine.toml", [f"sources.requests.count={count}"], registry())
    sizes: list[float] = []

    async def sample() -> None:
        while len(sizes) < 10:
            if Count.arrived >= count * (len(sizes) + 1) / 10:
                sizes.append(resident_mib())
            await asyncio.sleep(0.01)

    sampler = asyncio.ensure_future(sample())
    report = await Engine(plan).run()
    await sampler
    assert report["outcomes"]["delivered"] == count
    return sizes


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    count = parser.parse_args().count
    print_machine()
    sizes = asyncio.run(run(count))
    print(f"{count:,} records; resident MiB at each tenth: " + ", ".join(f"{size:.1f}" for size in sizes))
    print(f"growth from the second tenth to the last: {sizes[-1] - sizes[1]:+.1f} MiB")


if __name__ == "__main__":
    main()
