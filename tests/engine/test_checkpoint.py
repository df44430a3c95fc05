"""Checkpoints: a run that was killed, drained or finished goes on where it was; nothing is lost or written twice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from peers.processes import wait_until

from dagflow.engine.checkpointing import Checkpointing
from dagflow.graph.plan import CheckpointPlan
from dagflow.record import Record

pytestmark = pytest.mark.anyio
FILE = """
[pipeline]
drain_timeout = "10ms"
edges = [{ from = "in", to = "ask" }, { from = "ask", to = "out" }]
[sources.in]
type = "jsonl"
path = "in.jsonl"
[stages.ask]
type = "inference"
worker = "main"
concurrency = 8
[sinks.out]
type = "jsonl"
path = "out.jsonl"
fields = ["id", "prompt"]
[workers.main]
type = "echo"
delay = "1ms"
[checkpoint]
path = "checkpoint.db"
"""
CHECKED = 'to = "out" }, { from = "in", to = "check" }, { from = "check", to = "also" }'
CHECK = """
[stages.check]
type = "set"
fields = { odd = "1 / (meta.n % 2)" }
[sinks.also]
type = "null"
"""


class Folder:
    """A folder with a pipeline in it."""

    def __init__(self, path: Path, text: str, lines: list[dict[str, str]]) -> None:
        self.path = path
        self.write(text)
        self.put(lines)

    def write(self, text: str) -> None:
        """Write the pipeline's file."""
        self.file = self.path / "p.toml"
        self.file.write_text(text)

    def put(self, lines: list[dict[str, str]]) -> None:
        """Write the input."""
        (self.path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start a run."""
        command = [sys.executable, "-m", "dagflow", "run", "-q", "--report", str(self.path / "report.json")]
        return subprocess.Popen([*command, str(self.file), *options], stderr=subprocess.PIPE, text=True)

    def run(self, *options: str, code: int = 0) -> dict:
        """Run to the end; gives the report."""
        process = self.start(*options)
        _, self.errors = process.communicate(timeout=50)
        assert process.returncode == code, self.errors
        return json.loads((self.path / "report.json").read_text()) if code in (0, 65, 75) else {}

    def end_when(self, lines: int, by: int = signal.SIGKILL, name: str = "out.jsonl") -> None:
        """Start a run, and end it when a sink has so many lines."""
        process = self.start()
        wait_until(lambda: len(self.ids(name)) >= lines or process.poll() is not None, within_s=50)
        assert process.poll() is None, process.stderr.read()
        os.kill(process.pid, by)
        process.communicate(timeout=50)

    def ids(self, name: str = "out.jsonl") -> list[str]:
        """The ids that stand in a sink's file, in whole lines."""
        path = self.path / name
        return [json.loads(line)["id"] for line in path.read_text().splitlines(True) if line.endswith("\n")]


@pytest.fixture
def folder(tmp_path):
    """Two thousand prompts, each fourth of which is the same line."""
    (tmp_path / "out.jsonl").touch()
    lines = [{"id": f"r{n}" if n % 4 else "same", "prompt": f"Say {n if n % 4 else 'it again'}"} for n in range(2000)]
    return Folder(tmp_path, FILE.replace('path = "in.jsonl"', 'path = "in.jsonl"\nfields = ["prompt"]'), lines)


def wanted(folder):
    """The ids of the input."""
    return Counter(json.loads(line)["id"] for line in (folder.path / "in.jsonl").read_text().splitlines())


def test_killed_again_and_again(folder):
    """The output is complete, without a line twice, also of lines that look alike."""
    for lines in (200, 800, 1400):
        folder.end_when(lines)
    report = folder.run()
    assert Counter(folder.ids()) == wanted(folder)
    assert report["checkpoint"]["resumed"]
    assert report["accepted"] + report["checkpoint"]["skipped"] == 2000
    assert report["checkpoint"]["skipped"] > 1000


def test_two_sinks_of_which_one_lags(folder):
    """What only one of them had written when the run was killed, that one does not write again."""
    more = """
[stages.slow]
type = "sleep"
delay = "5ms"
[sinks.also]
type = "jsonl"
path = "also.jsonl"
fields = ["id"]
"""
    text = folder.file.read_text().replace(
        'to = "out" }', 'to = "out" }, { from = "ask", to = "slow" }, { from = "slow", to = "also" }'
    )
    folder.write(text + more)
    folder.put([{"id": f"r{n}", "prompt": f"Say {n}"} for n in range(300)])
    (folder.path / "also.jsonl").touch()
    folder.end_when(20, name="also.jsonl")
    assert len(folder.ids()) > len(folder.ids("also.jsonl"))
    folder.end_when(120, name="also.jsonl")
    folder.run()
    assert Counter(folder.ids()) == Counter(folder.ids("also.jsonl")) == wanted(folder)


def test_a_branch_that_failed(folder):
    """The record is tried again; a sink that has it does not take it again, however many runs that takes."""
    folder.write(folder.file.read_text().replace('to = "out" }', CHECKED) + CHECK)
    folder.put([{"id": f"r{n}", "prompt": f"Say {n}", "n": n} for n in range(20)])
    for skipped in (0, 10, 10):
        report = folder.run(code=65)
        assert report["checkpoint"]["skipped"] == skipped
        assert Counter(folder.ids()) == wanted(folder)


async def test_what_a_sink_has_is_known_until_its_record_is_done(tmp_path):
    """Also if runs end before they come to it again."""
    plan, again = CheckpointPlan(tmp_path / "checkpoint.db"), b"k" * 16

    async def a_run(*keys, ends):
        """Give which of these records the sink has taken before; they end if they are to."""
        checkpoint, runner, known = (
            Checkpointing(plan, {}, False),
            SimpleNamespace(channels=[SimpleNamespace(edge=SimpleNamespace(name="in -> out"))]),
            [],
        )
        await checkpoint.open(["in"])
        await checkpoint.begin()
        for key in keys:
            record = Record({}, "id")
            record.key, calls = key, []
            record.ticket = SimpleNamespace(mark=checkpoint.admit("in", record))

            async def write(record, calls=calls):
                calls.append(record)

            await checkpoint.once(runner, runner.channels[0], write)(record)
            known.append(not calls)
            if ends:
                checkpoint.note_ended(record.ticket.mark, True)
        await checkpoint.commit()
        await checkpoint.close()
        return known

    assert await a_run(again, ends=False) == [False]
    assert await a_run(b"o" * 16, ends=True) == [False]
    assert await a_run(ends=False) == []
    assert await a_run(again, ends=False) == [True]
    assert await a_run(again, ends=True) == [True]


def test_a_drain_leaves_open_what_it_cut_off(folder):
    """It makes no dead letters of it, since a later run goes on with it."""
    letters = '[dead_letters]\npath = "letters.db"\n'
    folder.write(folder.file.read_text().replace("1ms", "50ms") + letters)
    folder.put([{"id": f"r{n}", "prompt": f"Say {n}"} for n in range(40)])
    folder.end_when(5, signal.SIGTERM)
    first = json.loads((folder.path / "report.json").read_text())
    assert first["exit_code"] == 75
    assert first["outcomes"]["cancelled"] > 0
    assert first["dead_letters"]["kept"] == 0
    report = folder.run()
    assert first["outcomes"]["delivered"] == report["checkpoint"]["skipped"]
    assert Counter(folder.ids()) == wanted(folder)


def test_finished_and_run_again(folder):
    """There is nothing left to do, until the input has more, or `--fresh` starts over."""
    folder.run()
    size = (folder.path / "out.jsonl").stat().st_size
    assert folder.run()["accepted"] == 0
    assert (folder.path / "out.jsonl").stat().st_size == size
    with (folder.path / "in.jsonl").open("a") as file:
        file.write('{"id": "more", "prompt": "Say more"}\n')
    assert folder.run()["accepted"] == 1
    assert Counter(folder.ids()) == wanted(folder)
    assert folder.run("--fresh")["accepted"] == 2001
    assert Counter(folder.ids()) == wanted(folder)


def test_a_start_that_fails_forgets_nothing(folder):
    """`--fresh` or not: the next run goes on where the last one stopped."""
    folder.put([{"id": "a", "prompt": "Say a"}])
    folder.run()
    folder.run("--fresh", "--set", "sources.in.path=nowhere.jsonl", code=1)
    report = folder.run()
    assert (report["accepted"], report["checkpoint"]["skipped"]) == (0, 1)
    assert folder.ids() == ["a"]


def test_a_line_is_known_by_what_it_says(folder):
    """Not by its place or its id: lines that are put in between are new, and a changed one is."""
    lines = [{"id": f"r{n}", "prompt": f"Say {n}"} for n in range(10)]
    folder.put(lines)
    folder.run()
    lines[5]["prompt"] = "Say something else"
    folder.put([{"id": "first", "prompt": "Say first"}, *lines])
    assert folder.run()["accepted"] == 2
    assert folder.ids()[-2:] == ["first", "r5"]


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        ('worker = "main"', 'worker = "main"\nparameters = { temperature = 1.0 }', "stages.ask.parameters.temperature"),
        ('type = "echo"\ndelay = "1ms"', 'type = "extractive"', "workers.main.type"),
        ('to = "out" }', 'to = "out", when = "prompt" }', "edges.ask -> out.when"),
        ('["id", "prompt"]', '["id"]', "sinks.out.fields"),
    ],
)
def test_a_changed_file(folder, before, after, place):
    """A change that would mix answers is refused, with its place and the remedy; nothing is touched."""
    folder.put([{"id": "a", "prompt": "Say a"}])
    folder.run()
    text = folder.file.read_text()
    assert before in text
    folder.write(text.replace(before, after))
    folder.run(code=78)
    assert f"`{place}`" in folder.errors
    assert "--fresh" in folder.errors
    assert folder.ids() == ["a"]
    folder.write(text)
    assert folder.run()["accepted"] == 0


def test_a_file_that_was_wrong_at_first(folder):
    """What has done nothing yet may be changed: a sink that did not open, a worker that answered nothing."""
    folder.put([{"id": "a", "prompt": "Say a"}])
    text = folder.file.read_text()
    failing = text.replace('delay = "1ms"', 'error_rate = 1.0\nerror = "refused"')
    folder.write(failing.replace("out.jsonl", "nowhere/out.jsonl"))
    folder.run(code=1)
    folder.write(failing)
    folder.run(code=65)
    folder.write(text.replace('["id", "prompt"]', '["id"]'))
    folder.run(code=78)
    assert "`sinks.out.fields`" in folder.errors
    folder.write(text)
    assert folder.run()["outcomes"]["delivered"] == 1
    assert folder.ids() == ["a"]


def test_changes_that_change_no_answer(folder):
    """Do no harm: how fast, how often, where the input lies."""
    folder.put([{"id": "a", "prompt": "Say a"}])
    folder.run()
    (folder.path / "in.jsonl").rename(folder.path / "moved.jsonl")
    text = folder.file.read_text().replace("in.jsonl", "moved.jsonl").replace("1ms", "2ms")
    folder.write(text.replace("concurrency = 8", "concurrency = 3\nretry = { attempts = 2 }"))
    assert folder.run()["accepted"] == 0


def test_what_counts_as_done(folder):
    """What failed is tried again, unless its dead letter was kept."""
    failing = folder.file.read_text().replace('delay = "1ms"', 'error_rate = 1.0\nerror = "refused"')
    folder.write(failing)
    folder.put([{"id": "a", "prompt": "Say a"}, {"id": "b"}])
    assert folder.run(code=65)["outcomes"]["failed"] == 2
    assert folder.run(code=65)["outcomes"]["failed"] == 2
    letters = '[dead_letters]\npath = "letters.db"\n[defaults]\nnode = { on_error = "dead_letter" }\n'
    text = failing.replace("concurrency = 8", 'concurrency = 8\non_error = "dead_letter"')
    folder.write(text + letters.split("[defaults]")[0])
    assert folder.run("--fresh", code=65)["outcomes"]["failed"] == 2
    report = folder.run(code=0)
    assert report["accepted"] == 0
    assert report["dead_letters"]["in_store"] == 2


TWO_BRANCHES = """
[pipeline]
drain_timeout = "10ms"
edges = [
  { from = "in", to = "left" }, { from = "in", to = "right" },
  { from = "left", to = "first" }, { from = "right", to = "second" },
  { from = "first", to = "out" }, { from = "second", to = "out" },
]
[sources.in]
type = "jsonl"
path = "in.jsonl"
fields = ["prompt"]
[stages.left]
type = "set"
fields = { side = "'left'" }
[stages.right]
type = "set"
fields = { side = "'right'" }
[stages.first]
type = "sleep"
delay = "LEFT"
[stages.second]
type = "sleep"
delay = "RIGHT"
[sinks.out]
type = "jsonl"
path = "out.jsonl"
template = '{"id": "{{ side }}"}'
[checkpoint]
path = "checkpoint.db"
"""


def test_two_branches_that_end_in_one_sink(folder):
    """Each line is written once, whichever of them came first in the run that was stopped."""
    folder.put([{"prompt": f"Say {n}"} for n in range(3)])
    folder.write(TWO_BRANCHES.replace("LEFT", "20s").replace("RIGHT", "1ms"))
    folder.end_when(3, signal.SIGTERM)
    folder.write(TWO_BRANCHES.replace("LEFT", "1ms").replace("RIGHT", "20s"))
    folder.end_when(6, signal.SIGTERM)
    assert Counter(folder.ids()) == {"left": 3, "right": 3}


def test_lines_that_have_no_ids_and_are_moved(folder):
    """What a sink has of an open record is known, though the record has another id now."""
    folder.write(
        folder.file.read_text().replace('to = "out" }', CHECKED).replace('["id", "prompt"]', '["prompt"]') + CHECK
    )
    folder.put([{"prompt": f"Say {n}", "n": n} for n in range(20)])
    folder.run(code=65)
    folder.put([{"prompt": f"Say {n}", "n": n} for n in range(-1, 20)])
    assert folder.run(code=65)["checkpoint"]["skipped"] == 10
    said = [json.loads(line)["prompt"] for line in (folder.path / "out.jsonl").read_text().splitlines()]
    assert Counter(said) == Counter(f"Say {n}" for n in range(-1, 20))


def test_a_best_effort_branch(folder):
    """Its sink takes nothing again of records that are tried again, whether it came before their end or later."""
    more = """
[stages.check]
type = "set"
fields = { odd = "1 / (meta.n % 2)" }
[stages.slow]
type = "sleep"
delay = "20ms"
[sinks.also]
type = "jsonl"
path = "also.jsonl"
fields = ["id"]
[sinks.later]
type = "jsonl"
path = "later.jsonl"
fields = ["id"]
"""
    edges = """from = "in", to = "check" }, { from = "check", to = "ask" },
      { from = "in", to = "also", best_effort = true },
      { from = "in", to = "slow", best_effort = true }, { from = "slow", to = "later" }"""
    folder.write(folder.file.read_text().replace('from = "in", to = "ask" }', edges).replace("10ms", "10s") + more)
    folder.put([{"id": f"r{n}", "prompt": f"Say {n}", "n": n} for n in range(10)])
    for _ in range(3):
        assert folder.run(code=65)["outcomes"]["failed"] == 5
        assert Counter(folder.ids("also.jsonl")) == Counter(folder.ids("later.jsonl")) == wanted(folder)


def test_killed_before_anything_was_done(folder):
    """Where lines are added to a file, those of the killed run are cut off again, and no others."""
    folder.write(folder.file.read_text().replace('path = "out.jsonl"', 'path = "out.jsonl"\nmode = "append"'))
    (folder.path / "out.jsonl").write_text('{"id": "before"}\n')
    folder.end_when(2)
    folder.run()
    assert Counter(folder.ids()) == wanted(folder) + Counter(["before"])


async def test_what_no_checkpoint_knows_is_not_cut_off(tmp_path):
    """A sink's position is kept though nothing has settled that could be done again: others bring records, too."""

    class Log:
        offset = 0

        def position(self):
            return self.offset

        async def flush(self):
            pass

    async def a_run():
        plugin, context = Log(), SimpleNamespace(name="out", resumes=False, position=None)
        node = SimpleNamespace(plan=SimpleNamespace(kind="sink", name="out"), plugin=plugin)
        checkpoint = Checkpointing(CheckpointPlan(tmp_path / "checkpoint.db"), {}, False)
        await checkpoint.open([])
        checkpoint.follow(SimpleNamespace(plugins=[(plugin, context)], nodes={"out": node}))
        plugin.offset = context.position or 0
        await checkpoint.begin()
        found, plugin.offset = plugin.offset, plugin.offset + 10
        await checkpoint.commit()
        await checkpoint.close()
        return found

    assert [await a_run() for _ in range(3)] == [0, 10, 20]


async def test_a_sink_that_does_not_know_its_position(tmp_path):
    """Is told as trouble of the checkpoint; nothing of what has ended is lost for the next commit."""
    troubles = []
    broken = SimpleNamespace(plan=SimpleNamespace(kind="sink", name="out"), plugin=SimpleNamespace())
    checkpoint = Checkpointing(CheckpointPlan(tmp_path / "checkpoint.db"), {}, False)
    checkpoint.on_trouble = troubles.append
    await checkpoint.open(["in"])
    await checkpoint.begin()
    checkpoint.follow(SimpleNamespace(plugins=[], nodes={"out": broken}))
    record = Record({}, "id")
    record.key = b"k" * 16
    checkpoint.note_ended(checkpoint.admit("in", record), True)
    await checkpoint.commit()
    assert "position" in troubles[0]
    checkpoint.follow(SimpleNamespace(plugins=[], nodes={}))
    await checkpoint.commit()
    await checkpoint.close()
    again = Checkpointing(CheckpointPlan(tmp_path / "checkpoint.db"), {}, False)
    await again.open(["in"])
    await again.close()
    assert again.done_before == 1


def test_a_drain_that_cuts_off_a_branch(folder):
    """The record stays open, though a dead letter of another branch is kept."""
    more = """
[stages.check]
type = "fail"
[sinks.also]
type = "null"
[dead_letters]
path = "letters.db"
"""
    text = folder.file.read_text().replace('to = "out" }', CHECKED) + more
    folder.write(text.replace("1ms", "20s"))
    folder.put([{"id": f"r{n}", "prompt": f"Say {n}"} for n in range(3)])
    process, letters = folder.start(), folder.path / "letters.db"
    wait_until(lambda: letters.exists() and _count(letters) == 3, within_s=50)
    process.terminate()
    process.communicate(timeout=50)
    folder.write(text)
    assert folder.run(code=65)["accepted"] == 3
    assert Counter(folder.ids()) == wanted(folder)


def _count(letters):
    store = sqlite3.connect(letters)
    try:
        return store.execute("SELECT count(*) FROM letters").fetchone()[0]
    except sqlite3.Error:  # it is being made
        return 0
    finally:
        store.close()


def test_a_pipe_that_is_read(folder):
    """It cannot be read again either, under whatever name."""
    os.mkfifo(folder.path / "pipe")
    folder.run("--set", "sources.in.path=pipe", code=78)
    assert "not-resumable" in folder.errors
    folder.run("--set", f"sources.in.path={'x' * 5000}", code=1)
    assert "could not be opened" in folder.errors


def test_an_output_that_is_gone(folder):
    """Is told, with the remedy: it would never be complete; so is one that is another one now."""
    folder.run()
    whole = (folder.path / "out.jsonl").read_text()
    for content in ("", "x" + whole):
        (folder.path / "out.jsonl").write_text(content)
        folder.run(code=1)
        assert "out.jsonl" in folder.errors
        assert "--fresh" in folder.errors
        assert (folder.path / "out.jsonl").read_text() == content


@pytest.mark.parametrize("damage", ["UPDATE about SET value = '{'", "UPDATE positions SET position = 'x'"])
def test_a_checkpoint_that_is_damaged(folder, damage):
    """Is told."""
    folder.run()
    store = sqlite3.connect(folder.path / "checkpoint.db", isolation_level=None)
    store.execute(damage)
    store.close()
    folder.run(code=1)
    assert "checkpoint.db` cannot be used: it is damaged" in folder.errors


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_checkpoint_that_is_none(folder, content):
    """Is told, and left as it is."""
    (folder.path / "checkpoint.db").write_bytes(content)
    folder.run(code=1)
    assert "checkpoint.db" in folder.errors
    assert (folder.path / "checkpoint.db").read_bytes() == content


def test_a_checkpoint_that_can_no_longer_be_written(folder):
    """The run takes in no more, ends with an error, and what it could not keep is done again."""
    process = folder.start()
    wait_until(lambda: len(folder.ids()) >= 200, within_s=50)
    blocker = sqlite3.connect(folder.path / "checkpoint.db", isolation_level=None)
    blocker.execute("DROP TABLE settled")
    blocker.close()
    _, errors = process.communicate(timeout=50)
    assert process.returncode == 1, errors
    assert "settled" in json.loads((folder.path / "report.json").read_text())["stopped_by"]


def test_two_runs_at_a_time(folder):
    """The second one is refused, wherever it writes to."""
    folder.write(folder.file.read_text().replace("1ms", "20ms"))
    process = folder.start()
    wait_until(folder.ids, within_s=50)
    folder.run("--set", "sinks.out.path=other.jsonl", code=1)
    assert "checkpoint.db" in folder.errors
    process.kill()
    process.communicate(timeout=50)


def test_no_half_lines(folder):
    """A line that was torn by the kill is cut off when the run goes on."""
    folder.put([{"id": "a", "prompt": "Say a"}])
    folder.run()
    with (folder.path / "out.jsonl").open("a") as file:
        file.write('{"id": "to')
    folder.put([{"id": "a", "prompt": "Say a"}, {"id": "b", "prompt": "Say b"}])
    folder.run()
    assert (folder.path / "out.jsonl").read_text().count("\n") == 2
    assert folder.ids() == ["a", "b"]


def test_embedded(folder):
    """Whoever hands records in by hand has no checkpoint."""
    import dagflow

    async def main():
        async with dagflow.open(folder.file) as pipeline:
            await pipeline.submit({"prompt": "Say a"})

    folder.write(folder.file.read_text())
    asyncio.run(main())
    assert not (folder.path / "checkpoint.db").exists()
