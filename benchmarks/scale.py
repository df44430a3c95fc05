"""What a second process brings: a pipeline of five stages, in one of which each record costs 200 us of CPU.

    python benchmarks/scale.py [--rounds 3] [--processes 2] [--count 20000]

  file     lines of a file, which the processes split, to one file
  relay    lines of the standard input, which the parent sends by session, to one file
  http     requests at a port that the processes share
  session  requests that the parent takes in, and sends by session
  cores    as many programs that only count, without dagflow: what can be had here

Each runs in one process and in several. The load on the two services comes from a process of its own, on these cores.
The aims on two cores are 1.7 for what is split, and 1.5 for what is relayed. `parent` is the share of a core that the
parent takes, and `ends at` the number of processes at which that would be a whole one. The same without the 200 us is
pure overhead: `bare`.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from measure import median, print_machine, print_table, rounds
from serving import CONNECTIONS, load

MODES = ("cores", "file", "relay", "http", "session")
WORK_US = 200
SESSIONS = 1000

FILE = """
[pipeline]
edges = [
  {{ from = "in", to = "rag" }}, {{ from = "rag", to = "assemble" }}, {{ from = "assemble", to = "inference" }},
  {{ from = "inference", to = "post" }}, {{ from = "post", to = "out" }},
]
[sources.in]
{source}
[stages.rag]
type = "set"
fields = {{ context = "{work}" }}
[stages.assemble]
type = "template"
template = "Answer in one sentence: {{{{ input }}}}"
[stages.inference]
type = "inference"
worker = "main"
concurrency = 64
{affinity}
[stages.post]
type = "post"
[sinks.out]
{sink}
[workers.main]
type = "echo"
[runtime]
processes = {processes}
"""

LINES = 'type = "jsonl"\npath = "{}"'
HTTP = 'type = "http"\nlisten = "127.0.0.1:{}"'
OUT = 'type = "jsonl"\npath = "out.jsonl"\nfields = ["id", "text"]'
REPLY = 'type = "reply"\nconcurrency = 256'
SESSION = 'affinity = "session"'


def work(loops: int) -> str:
    """An expression that takes as long as so many steps."""
    return f"range({loops}) | sum" if loops else "input"


def loops_for(us: float) -> int:
    """How many steps of that take so long here."""
    from dagflow.expressions import Expression
    from dagflow.record import Record

    steps, record = 10_000, Record({"input": ""})
    expression = Expression(work(steps))
    return round(steps * us / min(_timed(expression, record) for _ in range(2000)))


def _timed(expression: Any, record: Any) -> float:
    began = time.perf_counter()
    expression.evaluate(record)
    return (time.perf_counter() - began) * 1e6


def pipeline(mode: str, processes: int, loops: int, port: int) -> str:
    """The file of a mode."""
    sources = {"file": LINES.format("in.jsonl"), "relay": LINES.format("-")}
    return FILE.format(
        source=sources.get(mode, HTTP.format(port)),
        sink=OUT if mode in sources else REPLY,
        affinity=SESSION if mode in ("relay", "session") else "",
        work=work(loops),
        processes=processes,
    )


def run_batch(folder: Path, count: int) -> dict[str, Any]:
    """Run the pipeline over so many lines; give its report."""
    with open(folder / "in.jsonl", "w") as file:
        for n in range(count):
            file.write(json.dumps({"id": f"r{n}", "session": f"s{n % SESSIONS}", "input": f"Say {n}"}) + "\n")
    command = [sys.executable, "-m", "dagflow", "run", "-q", "--report", "report.json", "p.toml"]
    with open(folder / "in.jsonl") as given:
        subprocess.run(command, cwd=folder, stdin=given, check=True, timeout=600)
    assert (folder / "out.jsonl").read_bytes().count(b"\n") == count
    return json.loads((folder / "report.json").read_text())


def run_service(folder: Path, port: int, count: int) -> tuple[float, dict[str, Any]]:
    """Serve the pipeline, and ask it so often; give how long that took, in seconds, and the report."""
    command = [sys.executable, "-m", "dagflow", "run", "-q", "--report", "report.json", "p.toml"]
    service = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        load(port, connections=CONNECTIONS, count=count // 10)
        took_s = load(port, connections=CONNECTIONS, count=count)["seconds"]
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(60)
    return took_s, json.loads((folder / "report.json").read_text())


def wait_for(port: int) -> None:
    """Wait until the service answers."""
    for _ in range(1000):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    raise SystemExit("the service does not answer")


def burn(programs: int) -> dict[str, float]:
    """Turns a second of so many programs that do nothing but count: what the cores give, whatever runs there."""
    count = "while time.perf_counter() < end: sum(range(2000)); n += 1"
    script = f"import time\nend, n = time.perf_counter() + 2, 0\n{count}\nprint(n)"
    started = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) for _ in range(programs)]
    return {"rate": sum(int(program.communicate()[0]) for program in started) / 2, "parent_us": 0.0}


def measure(mode: str, processes: int, loops: int, count: int) -> dict[str, float]:
    """Records a second, and the CPU of parent and children for each record."""
    with tempfile.TemporaryDirectory() as name, socket.socket() as held:
        folder = Path(name)
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        held.close()
        (folder / "p.toml").write_text(pipeline(mode, processes, loops, port))
        if mode in ("file", "relay"):
            idle = run_batch(folder, 1)
            report = run_batch(folder, count)
            took_s = report["duration_s"] - idle["duration_s"]
        else:
            took_s, report = run_service(folder, port, count)
            idle, count = {}, round(count * 1.1)
    parent = report.get("parent", {}).get("cpu_s", 0.0) - idle.get("parent", {}).get("cpu_s", 0.0)
    rate = (count if mode in ("file", "relay") else count / 1.1) / took_s
    return {"rate": rate, "parent_us": parent / count * 1e6}


def row(mode: str, us: int, processes: int, results: dict[str, list[dict[str, Any]]]) -> tuple[str, ...]:
    """A line of the table."""
    one, more = results[f"{mode} {us} 1"], results[f"{mode} {us} {processes}"]
    ratio = median(b["rate"] / a["rate"] for a, b in zip(one, more, strict=True))
    rate, parent_us = median(run["rate"] for run in more), median(run["parent_us"] for run in more)
    share = rate * parent_us / 1e6
    return (
        mode if mode == "cores" else f"{mode}, {us} us" if us else f"{mode}, bare",
        f"{median(run['rate'] for run in one):,.0f}",
        f"{rate:,.0f}",
        f"{ratio:.2f}",
        f"{parent_us:.1f} us",
        f"{share:.2f}",
        f"{processes / share:.0f}" if share > 0.001 else "-",
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--modes", nargs="*", default=MODES)
    given = parser.parse_args()
    print_machine()
    loops = loops_for(WORK_US)
    kinds = [(mode, us) for mode in given.modes for us in ((0,) if mode == "cores" else (WORK_US, 0))]
    variants = [f"{mode} {us} {n}" for mode, us in kinds for n in (1, given.processes)]

    def run(variant: str) -> dict[str, float]:
        mode, us, processes = variant.split()
        if mode == "cores":
            return burn(int(processes))
        return measure(mode, int(processes), loops if us != "0" else 0, given.count)

    results = rounds(given.rounds, variants, run)
    rows = [row(mode, us, given.processes, results) for mode, us in kinds]
    header = ("mode", "1 process /s", f"{given.processes} processes /s", "ratio", "parent", "of a core", "ends at")
    print_table(header, rows)


if __name__ == "__main__":
    main()
