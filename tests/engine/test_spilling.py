"""Edges that overflow to disk, in whole runs: killed, drained, embedded, refused."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from peers.processes import wait_until
from rigs import SILENT

import dagflow
from dagflow.compile import compile_text
from dagflow.engine.engine import Engine
from dagflow.errors import OpenFailed
from dagflow.plugin import Source
from dagflow.record import Record
from dagflow.store.segments import inspect

FILE = """
[pipeline]
max_in_flight = 100_000
drain_timeout = "10ms"
edges = [
  { from = "in", to = "ask" },
  { from = "ask", to = "slow", capacity = 20, when_full = "spill", spill = { path = "spill" } },
  { from = "slow", to = "out" },
]
[sources.in]
type = "generate"
count = 1200
input = "Say {{ n }}"
[stages.ask]
type = "inference"
worker = "main"
concurrency = 32
[stages.slow]
type = "sleep"
delay = "1ms"
[sinks.out]
type = "jsonl"
path = "out.jsonl"
template = "{{ completion.text }}"
[workers.main]
type = "echo"
"""
CHECKPOINT = '[checkpoint]\npath = "checkpoint.db"\n'


class Folder:
    """A folder with a pipeline in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write()

    def write(self, more: str = CHECKPOINT) -> None:
        """Write the file."""
        prompt = '[stages.prompt]\ntype = "set"\nfields = { prompt = "input" }\n'
        text = FILE.replace('from = "in", to = "ask"', 'from = "in", to = "prompt" }, { from = "prompt", to = "ask"')
        (self.path / "p.toml").write_text(text + prompt + more)

    def call(self, *arguments: str) -> list[str]:
        """Give the command line of a call."""
        return [sys.executable, "-m", "dagflow", *arguments]

    def run(self, *options: str, code: int = 0) -> dict:
        """Run to the end; gives the report."""
        command = self.call("run", "-q", "--report", "report.json", "p.toml", *options)
        done = subprocess.run(command, cwd=self.path, capture_output=True, text=True, timeout=60)
        self.errors = done.stderr
        assert done.returncode == code, done.stderr
        return json.loads((self.path / "report.json").read_text()) if code in (0, 75) else {}

    def end_when(self, spilled: int, by: int = signal.SIGKILL) -> None:
        """Start a run, and end it when so many records are on disk and some lines in the output."""
        command = self.call("run", "-q", "--report", "report.json", "p.toml")
        process = subprocess.Popen(command, cwd=self.path, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: process.poll() is not None or (self.size() >= spilled * 300 and self.lines()), within_s=50)
        assert process.poll() is None, process.stderr.read()
        os.kill(process.pid, by)
        process.communicate(timeout=50)

    def size(self) -> int:
        """How much is on disk."""
        found = 0
        for path in self.path.glob("spill/*/*.segment"):
            found += path.stat().st_size
        return found

    def lines(self) -> list[str]:
        """The output."""
        path = self.path / "out.jsonl"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def folder(tmp_path):
    """A folder with a pipeline."""
    return Folder(tmp_path)


def test_killed_again_and_again(folder):
    """What had been answered and was on disk is not asked again; the output is complete, without a line twice."""
    folder.end_when(300)
    left = inspect(folder.path / "spill" / "ask+slow").records
    assert left > 200
    folder.end_when(200)
    report = folder.run()
    assert Counter(folder.lines()) == Counter(f"Say {n}" for n in range(1200))
    assert report["taken_over"] > 100
    assert report["accepted"] + report["taken_over"] + report["checkpoint"]["skipped"] == 1200
    assert report["accepted"] + report["taken_over"] == report["outcomes"]["delivered"]
    assert not (folder.path / "spill" / "ask+slow").exists()


def test_drained(folder):
    """What a drain left on disk is gone on with, too."""
    folder.end_when(300, signal.SIGTERM)
    first = json.loads((folder.path / "report.json").read_text())
    assert first["exit_code"] == 75
    assert first["outcomes"]["cancelled"] > 200
    report = folder.run()
    assert report["taken_over"] > 200
    assert Counter(folder.lines()) == Counter(f"Say {n}" for n in range(1200))


def test_started_over(folder):
    """With `--fresh` nothing of it is left."""
    folder.end_when(300)
    report = folder.run("--fresh")
    assert (report["accepted"], report["taken_over"]) == (1200, 0)
    assert Counter(folder.lines()) == Counter(f"Say {n}" for n in range(1200))


def test_without_a_checkpoint(folder):
    """The source brings all records again, so what is on disk is let go of, which is told."""
    folder.write("")
    folder.end_when(300)
    report = folder.run()
    assert (report["accepted"], report["taken_over"]) == (1200, 0)
    assert "taken_over=0" in folder.errors
    assert Counter(folder.lines()) == Counter(f"Say {n}" for n in range(1200))


def test_a_torn_tail(folder):
    """It is told, and its record comes from its source again."""
    folder.end_when(300)
    [path] = folder.path.glob("spill/*/*.segment")
    os.truncate(path, path.stat().st_size - 7)
    check = subprocess.run(folder.call("spill", "check", "p.toml"), cwd=folder.path, capture_output=True, text=True)
    assert check.returncode == 1
    assert "is damaged at offset" in check.stdout
    folder.run()
    assert "is damaged at offset" in folder.errors
    assert Counter(folder.lines()) == Counter(f"Say {n}" for n in range(1200))


def test_check(folder):
    """It tells what is there; a file without such an edge, too."""
    folder.end_when(300)
    check = subprocess.run(
        folder.call("spill", "check", "p.toml", "-f", "json"), cwd=folder.path, capture_output=True, text=True
    )
    [(name, found)] = json.loads(check.stdout).items()
    assert (check.returncode, name, found["damages"], found["in_use"]) == (0, "ask -> slow", [], False)
    assert found["records"] == inspect(folder.path / "spill" / "ask+slow").records > 200
    text = (folder.path / "p.toml").read_text()
    (folder.path / "q.toml").write_text(text.replace(', when_full = "spill", spill = { path = "spill" }', ""))
    check = subprocess.run(folder.call("spill", "check", "q.toml"), cwd=folder.path, capture_output=True, text=True)
    assert (check.returncode, check.stdout) == (0, 'no edge has `when_full = "spill"`\n')


def test_of_another_version(folder):
    """It is refused with its number, and stays."""
    folder.end_when(300)
    [path] = folder.path.glob("spill/*/*.segment")
    from dagflow.store.spool import Spool

    spool = Spool(path.parent, 1 << 20)
    spool.open()
    spool.clear()
    spool.append(b'{"version": 9}\n{}')
    spool.close()
    folder.run(code=1)
    assert "version 9" in folder.errors
    assert path.exists()


def test_a_folder_that_cannot_be_made(folder):
    """The start is refused, with the edge and the folder."""
    (folder.path / "spill").write_text("a file")
    folder.run(code=1)
    assert "`ask -> slow` could not be opened" in folder.errors
    assert "spill" in folder.errors


def test_two_runs_at_a_time(folder):
    """The second is refused, since it would read what is not its own."""
    folder.write("")
    file = folder.path / "p.toml"

    async def main():
        first, second = (Engine(compile_text(file.read_text(), file), log=SILENT) for _ in range(2))
        running = asyncio.ensure_future(first.run())
        await first.started.wait()
        with pytest.raises(OpenFailed, match="another run"):
            await second.run()
        first.stop("test")
        await running

    asyncio.run(main())


def test_embedded(folder):
    """Whoever hands records in by hand has a folder of their own, which is gone at the end; the other is left alone."""
    folder.end_when(300)
    before = inspect(folder.path / "spill" / "ask+slow").records

    async def main():
        async with dagflow.open(folder.path / "p.toml") as pipeline:
            results = await asyncio.gather(*(pipeline.submit({"input": f"Why {n}"}) for n in range(100)))
            assert [result.record["completion"].text for result in results] == [f"Why {n}" for n in range(100)]
            assert len(list((folder.path / "spill").iterdir())) == 2

    asyncio.run(main())
    assert [path.name for path in (folder.path / "spill").iterdir()] == ["ask+slow"]
    assert inspect(folder.path / "spill" / "ask+slow").records == before


class Tide(Source):
    """A live source that answers nobody, and cannot bring a record again."""

    finite = False
    count = 0

    async def records(self):
        for n in range(self.count):
            yield Record({"input": f"Say {n}"}, f"tide:{n}")
        await asyncio.Event().wait()


def test_a_live_source(folder):
    """What is on disk after a kill goes on in the next run, since nobody brings it again."""
    folder.write("")
    file = folder.path / "p.toml"

    def engine(count):
        plan = compile_text(file.read_text(), file)
        made = Engine(plan, log=SILENT)
        source = Tide()
        source.count = count
        made.wiring.sources["in"].plugin = source
        return made

    async def first():
        run = engine(200)
        task = asyncio.ensure_future(run.run())
        while run.report()["edges"]["ask -> slow"]["spilled"] < 100:
            await asyncio.sleep(0)
        saved = {path: path.read_bytes() for path in folder.path.glob("spill/*/*")}
        run.force("test")
        await task
        return saved

    async def second():
        run = engine(0)
        task = asyncio.ensure_future(run.run())
        await run.started.wait()
        taken_over = run.wiring.book.live
        assert not any(ticket.record or ticket.accepted for ticket in taken_over)  # their fields are on disk
        while run.report()["in_flight"]:
            await asyncio.sleep(0.001)
        run.stop("test")
        return await task

    saved = asyncio.run(first())
    for path, content in saved.items():  # as a kill would have left them
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    report = asyncio.run(second())
    assert report["accepted"] == 0
    assert report["taken_over"] == report["outcomes"]["delivered"] > 90
    lines = folder.lines()
    assert len(lines) == report["taken_over"]
    assert lines == sorted(lines, key=lambda line: int(line.split()[1]))


def test_a_join_that_knows_more(folder):
    """A branch on its way to a join is not gone on with alone: the other one failed, and so must the record."""
    text = """
[pipeline]
max_in_flight = 100_000
drain_timeout = "10ms"
edges = [
  { from = "in", to = "check" }, { from = "check", to = "both" },
  { from = "in", to = "late" },
  { from = "late", to = "both", capacity = 4, when_full = "spill", spill = { path = "spill" } },
  { from = "both", to = "out" },
]
[sources.in]
type = "generate"
count = 600
[stages.check]
type = "set"
fields = { odd = "1 / (n % 2)" }
[stages.late]
type = "sleep"
delay = "20ms"
concurrency = 100
[stages.both]
type = "sleep"
join = "all"
delay = "1ms"
[sinks.out]
type = "jsonl"
path = "out.jsonl"
template = "{{ n }}"
"""
    (folder.path / "p.toml").write_text(text + CHECKPOINT)
    folder.end_when(50, signal.SIGTERM)
    folder.run("--set", "pipeline.drain_timeout=30s", code=65)
    assert Counter(folder.lines()) == Counter(str(n) for n in range(600) if n % 2)
