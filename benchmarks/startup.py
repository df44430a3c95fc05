"""How long the command line takes to start, bytecode cached.

    python benchmarks/startup.py [--rounds 10]

`dagflow --help` has a target of 150 ms, `dagflow validate pipeline.example.toml` one of 400 ms.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from measure import median, print_machine, print_table

ROOT = Path(__file__).parents[1]
COMMANDS = {
    ("--help",): 150,
    ("validate", "pipeline.example.toml"): 400,
    ("graph", "pipeline.example.toml"): None,
}


def seconds(arguments: tuple[str, ...]) -> float:
    """Run the command once and time it."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "dagflow", *arguments], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    return time.perf_counter() - start


def main() -> None:
    """Run each command once to warm up, then in rounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    count = parser.parse_args().rounds
    print_machine()
    rows = []
    for arguments, target in COMMANDS.items():
        seconds(arguments)
        times = [seconds(arguments) * 1e3 for _ in range(count)]
        rows.append([f"dagflow {' '.join(arguments)}", f"{median(times):.0f}", f"{max(times):.0f}", target or "-"])
    print_table(["command", "median ms", "slowest", "target"], rows)


if __name__ == "__main__":
    main()
