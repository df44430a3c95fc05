"""CrewRun: a pipeline in several processes, run by the command line in a folder of its own; some can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from peers.processes import wait_until

FILE = """
[pipeline]
drain_timeout = "5s"
edges = [{ from = "in", to = "ask" }, { from = "ask", to = "out" }]
[sources.in]
type = "jsonl"
path = "in.jsonl"
fields = ["prompt"]
[stages.ask]
type = "inference"
worker = "main"
concurrency = 16
[sinks.out]
type = "jsonl"
path = "out.jsonl"
fields = ["id", "session", "prompt"]
[workers.main]
type = "echo"
delay = "2ms"
[runtime]
processes = 2
"""


class CrewRun:
    """One folder, and the runs in it.

    Attributes:
        report: that of the last run; errors: what it wrote to standard error.
    """

    def __init__(self, path: Path, text: str = FILE, lines: int = 1000, sessions: int = 0) -> None:
        self.path = path
        self.file = path / "p.toml"
        self.report: dict[str, Any] = {}
        self.errors = ""
        self.ids = [f"r{n}" for n in range(lines)]
        with open(path / "in.jsonl", "w") as file:
            for n, id in enumerate(self.ids):
                session = {"session": f"s{n % sessions}"} if sessions else {}
                file.write(json.dumps({"id": id, "prompt": f"Say {n}", **session}) + "\n")
        self.write(text)

    def write(self, text: str) -> None:
        """Write the pipeline file."""
        self.file.write_text(text)

    def start(self, *options: str, **environ: str) -> None:
        """Start a run; its input file is its standard input, too."""
        command = [sys.executable, "-m", "dagflow", "run", "-q", "--report", "report.json", "p.toml", *options]
        (self.path / "out.jsonl").touch()
        with open(self.path / "in.jsonl") as given, open(self.path / "stderr", "w") as stderr:
            self.process = subprocess.Popen(
                command, cwd=self.path, stdin=given, stderr=stderr, env={**os.environ, **environ}
            )

    def end(self, code: int = 0) -> dict[str, Any]:
        """Wait for the end; gives the report."""
        found = self.process.wait(timeout=60)
        self.errors = (self.path / "stderr").read_text()
        assert found == code, self.errors
        self.report = json.loads((self.path / "report.json").read_text())
        return self.report

    def run(self, *options: str, code: int = 0, **environ: str) -> dict[str, Any]:
        """Run to the end; gives the report."""
        self.start(*options, **environ)
        return self.end(code)

    def written(self, name: str = "out.jsonl") -> list[dict[str, Any]]:
        """The whole lines of an output."""
        lines = (self.path / name).read_bytes().splitlines(True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def wait_written(self, lines: int) -> None:
        """Wait until so many lines stand in the output."""
        wait_until(lambda: len(self.written()) >= lines or self.process.poll() is not None, within_s=50)
        assert self.process.poll() is None, (self.path / "stderr").read_text()

    def children(self) -> list[int]:
        """The process ids of the children that live now, the oldest first."""
        pid = self.process.pid
        return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))

    def kill_child(self, index: int = 0) -> None:
        """Kill a child, and wait until another one stands in its place."""
        wait_until(lambda: len(self.children()) == 2)
        victim = self.children()[index]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in (now := self.children()) and len(now) == 2)


def balances(report: dict[str, Any]) -> bool:
    """Whether each record that was accepted has one outcome, and the edges' books agree."""
    edges = report["edges"].values()
    ends = ("taken", "shed", "expired", "cancelled", "buffered")
    return report["accepted"] == sum(report["outcomes"].values()) + report["in_flight"] and all(
        edge["offered"] == sum(edge[end] for end in ends) for edge in edges
    )
