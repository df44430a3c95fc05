"""Kill programs of one pipeline again and again, and its server now and then, and look at what comes out at its end.

    python scripts/soak_mesh.py [--records 50000] [--seed 1] [--pause 2.0]

Three programs share a pipeline over a real `nats-server`: one reads a file with a checkpoint, one works, one writes.
Every few seconds one of them, or the server, is killed with SIGKILL and started again, until all is written. Nothing
may be missing. What the writer wrote and could not acknowledge any more is written twice; how much that is, is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from peers.nats_server import NatsServer
from peers.processes import Child

FILE = """
[pipeline]
name = "soak"
edges = [
  {{ from = "in", to = "work", via = "bus", capacity = 2000 }},
  {{ from = "work", to = "out", via = "bus", capacity = 2000 }},
]
[checkpoint]
path = "{{folder}}/checkpoint-{{name}}.db"
[transports.bus]
type = "nats"
servers = ["{url}"]
ack_wait = "2s"
max_redeliveries = 100000
[sources.in]
type = "jsonl"
path = "in.jsonl"
fields = ["n"]
[stages.work]
type = "sleep"
delay = "1ms"
concurrency = 16
[sinks.out]
type = "jsonl"
path = "out.jsonl"
mode = "append"
fields = ["n"]
"""


def write_files(folder: Path, url: str, count: int) -> None:
    """Write the input, and a file for each program: each has a checkpoint of its own."""
    (folder / "in.jsonl").write_text("".join(f'{{"n": {number}}}\n' for number in range(count)))
    for name in ("in", "work", "out"):
        text = FILE.format(url=url).replace("{folder}", str(folder)).replace("{name}", name)
        if name != "in":  # only what reads the file has something to go on with
            text = text.replace(f'[checkpoint]\npath = "{folder}/checkpoint-{name}.db"\n', "")
        (folder / f"{name}.toml").write_text(text)


def written(folder: Path) -> Counter[int]:
    """How often each number was written, in whole lines."""
    path, found = folder / "out.jsonl", Counter[int]()
    for line in path.read_text().splitlines(keepends=True) if path.exists() else ():
        try:
            found[json.loads(line)["n"]] += 1
        except ValueError:  # the end of a line that a kill cut off
            continue
    return found


async def create(path: Path) -> None:
    """Create what the edges need."""
    from dagflow.compile import compile_file
    from dagflow.mesh.needs import apply, needs_of

    await apply(needs_of(compile_file(path)))


def soak(folder: Path, count: int, pause_s: float, chance: random.Random) -> tuple[Counter[int], Counter[str]]:
    """Kill until all is written; give what is there, and how often each was killed."""
    kills = Counter[str]()
    with NatsServer(folder / "nats") as server:
        write_files(folder, server.url, count)
        asyncio.run(create(folder / "in.toml"))
        children = {
            name: Child(
                [sys.executable, "-m", "dagflow", "run", folder / f"{name}.toml", "--only", name, "-q"],
                folder / f"{name}.log",
                lambda: True,
            )
            for name in ("in", "work", "out")
        }
        try:
            while len(written(folder)) < count:
                for child in children.values():
                    if child.pid is None:  # also one that had read all: it finds nothing to do
                        child.launch()
                time.sleep(chance.uniform(0.5, 2 * pause_s))
                victim = chance.choice(["in", "work", "work", "out", "server"])
                server.restart() if victim == "server" else children[victim].kill()
                kills[victim] += 1
        finally:
            for child in children.values():
                child.stop()
    return written(folder), kills


def main() -> None:
    """Soak, and print what was found; exits with 1 if anything is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=2.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        found, kills = soak(Path(folder), options.records, options.pause, random.Random(options.seed))
        took_s = time.monotonic() - began
    missing = set(range(options.records)) - found.keys()
    print(f"{options.records} records in {took_s:.0f} s, killed {dict(kills)}")
    print(f"missing {len(missing)}, written twice {sum(found.values()) - len(found)}")
    sys.exit(bool(missing))


if __name__ == "__main__":
    main()
