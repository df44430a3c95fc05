"""`dagflow dlq` as a user calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from dagflow.cli import app

FILE = """
[pipeline]
name = "letters"
edges = [{ from = "in", to = "work" }, { from = "work", to = "post" }, { from = "post", to = "out" }]
[sources.in]
type = "jsonl"
path = "in.jsonl"
[stages.work]
type = "set"
fields = { total = "WORK" }
[stages.post]
type = "set"
fields = { twice = "2 * total" }
[sinks.out]
type = "jsonl"
path = "out.jsonl"
[dead_letters]
path = "letters.db"
"""
BROKEN, MENDED = "n % 2 + 0 // (n % 2)", "n % 2"  # both say the same of what is odd
LINES = [json.dumps({"id": f"r{n}", "input": "x", "n": n}) for n in range(6)]


class Pipeline:
    """A file in a folder, and the command."""

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "p.toml"
        (folder / "in.jsonl").write_text("".join(line + "\n" for line in LINES))
        self.write(BROKEN)

    def write(self, work, file=FILE):
        """Write the file, with what the stage computes."""
        text = file.replace("WORK", work).replace('path = "in.jsonl"', 'path = "in.jsonl"\nfields = ["input", "n"]')
        self.path.write_text(text)

    def __call__(self, *arguments, code=0):
        """Run `dagflow`, check its exit code, and give what it printed to standard output."""
        self.done = subprocess.run(
            [sys.executable, "-m", "dagflow", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert self.done.returncode == code, self.done.stderr
        return self.done.stdout

    def dlq(self, command, *arguments, code=0):
        """Run a command of `dagflow dlq` on the file."""
        return self("dlq", command, self.path, *arguments, code=code)

    def listed(self, *arguments):
        """The records of the listed letters."""
        command = ["dlq", "list", self.path, "--format", "json", *arguments]
        done = CliRunner().invoke(app, [str(argument) for argument in command])
        assert done.exit_code == 0, done.output
        return [letter["record"] for letter in json.loads(done.stdout)]

    @property
    def exists(self):
        """Whether there is any output yet."""
        return (self.folder / "out.jsonl").exists()

    @property
    def output(self):
        """The lines of the output, in any order."""
        return sorted((self.folder / "out.jsonl").read_text().splitlines())


@pytest.fixture
def pipeline(tmp_path):
    """A pipeline of whose six records three fail until it is mended."""
    return Pipeline(tmp_path)


@pytest.mark.parametrize("options", [(), ("--from-start",)])
def test_failing_mending_and_replaying_gives_what_a_clean_run_gives(pipeline, options):
    """As a set of lines; and nothing is left."""
    pipeline.write(MENDED)
    pipeline("run", pipeline.path, "--quiet")
    clean = pipeline.output
    pipeline.write(BROKEN)
    pipeline("run", pipeline.path, "--quiet", code=65)
    assert len(pipeline.output) == 3
    pipeline.write(MENDED)
    assert pipeline.dlq("replay", *options) == ""
    assert "3 accepted" in pipeline.done.stderr
    assert pipeline.output == clean
    assert pipeline.dlq("list") == "no dead letters\n"


def test_list_says_what_failed_where_and_why(pipeline):
    """A line for each, oldest first; as JSON with the chain of errors."""
    pipeline("run", pipeline.path, "--quiet", code=65)
    head, *rows = pipeline.dlq("list").splitlines()
    assert head.split() == ["id", "time", "record", "outcome", "at", "error", "which", "said", "replays"]
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    assert "r0" in rows[0]
    letters = json.loads(pipeline.dlq("list", "--format", "json"))
    first = letters[0]
    assert (first["id"], first["record"], first["node"], first["outcome"]) == (1, "r0", "work", "failed")
    assert (first["code"], first["attempts"], first["replays"], first["source"]) == ("expression", 1, 0, "in")
    assert first["chain"][0]["message"] == first["message"]
    assert abs(datetime.fromisoformat(first["time"]) - datetime.now(UTC)) < timedelta(minutes=5)
    assert "fields" not in first


def test_show_has_the_fields(pipeline):
    """As they entered the stage, and as they were accepted."""
    pipeline("run", pipeline.path, "--quiet", code=65)
    text = pipeline.dlq("show", "--id", 2)
    assert text.startswith("dead letter 2: record `r2` of `in`, failed at `work`\n")
    assert '"n": 2' in text
    [letter] = json.loads(pipeline.dlq("show", "--id", 2, "-f", "json"))
    assert letter["fields"] == letter["accepted"] == {"input": "x", "n": 2}
    assert (letter["session"], letter["priority"], letter["as_text"]) == (None, 0, {"fields": [], "accepted": []})


def test_filters(pipeline):
    """Each alone, and together."""
    pipeline("run", pipeline.path, "--quiet", code=65)
    everything = ["r0", "r2", "r4"]
    long_ago = "2001-01-01T00:00"
    cases = [
        ((), everything),
        (("--node", "work"), everything),
        (("--node", "post"), []),
        (("--error", "expression"), everything),
        (("--error", "timeout"), []),
        (("--since", "1h"), everything),
        (("--before", "1h"), []),
        (("--since", long_ago), everything),
        (("--before", long_ago), []),
        (("--id", 1, "--id", 3), ["r0", "r4"]),
        (("--record", "r2"), ["r2"]),
        (("--limit", 2), ["r0", "r2"]),
        (("--node", "work", "--id", 3, "--since", "1h"), ["r4"]),
    ]
    assert [pipeline.listed(*arguments) for arguments, _ in cases] == [found for _, found in cases]


def test_purge_says_how_many_and_needs_to_know_which(pipeline):
    """Nothing goes by mistake."""
    assert pipeline.dlq("purge", "--all") == "purged 0 dead letters\n"
    pipeline("run", pipeline.path, "--quiet", code=65)
    pipeline.dlq("purge", code=2)
    assert "--all" in pipeline.done.stderr
    pipeline.dlq("purge", "--limit", 1, code=2)
    assert pipeline.dlq("purge", "--record", "r2") == "purged 1 dead letter\n"
    assert pipeline.listed() == ["r0", "r4"]
    assert pipeline.dlq("purge", "--all") == "purged 2 dead letters\n"


def test_replay_of_what_still_fails_exits_with_65(pipeline):
    """The letters stay, with one replay more."""
    pipeline("run", pipeline.path, "--quiet", code=65)
    pipeline.dlq("replay", "--record", "r0", "--report", pipeline.folder / "report.json", code=65)
    assert json.loads((pipeline.folder / "report.json").read_text())["outcomes"]["failed"] == 1
    letters = json.loads(pipeline.dlq("list", "--format", "json"))
    assert sorted((letter["record"], letter["replays"]) for letter in letters) == [("r0", 1), ("r2", 0), ("r4", 0)]
    pipeline.dlq("replay", "--allow-failures", "--quiet")


def test_what_cannot_be_replayed_is_told(pipeline):
    """By itself it is a failure; beside others that could, they are left."""
    (pipeline.folder / "in.jsonl").write_text("no json\n" + LINES[0] + "\n")
    pipeline("run", pipeline.path, "--quiet", code=65)
    pipeline.dlq("replay", "--error", "unreadable", code=1)
    assert pipeline.done.stderr == (
        "not replayed: letter 1, record `in:1`: no record could be made of the input; "
        "correct it, and run it again\nnothing to replay\n"
    )
    pipeline.write(MENDED)
    pipeline.dlq("replay", "--quiet", code=75)
    assert pipeline.listed() == ["in:1"]
    assert pipeline.dlq("replay", "--node", "work") == ""
    assert pipeline.done.stderr == "nothing to replay\n"


def test_answers_without_a_caller_go_to_a_file(pipeline):
    """Without it, a file that answers callers is refused; what the file held is kept."""
    file = FILE.replace('type = "jsonl"\npath = "out.jsonl"', 'type = "reply"')
    pipeline.write(BROKEN, file)
    pipeline("run", pipeline.path, "--quiet", code=65)
    pipeline.write(MENDED, file)
    pipeline.dlq("replay", code=2)
    assert "sink `out` answers callers who are gone" in " ".join(pipeline.done.stderr.split())
    pipeline.dlq("replay", "--out", "-", code=2)
    assert "`-` is none" in " ".join(pipeline.done.stderr.split())
    out = pipeline.folder / "answers.jsonl"
    out.write_text('{"id": "before"}\n')
    pipeline.dlq("replay", "--out", out, "--quiet")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in rows] == ["before", "r0", "r2", "r4"]
    assert rows[1] == {"id": "r0", "input": "x", "n": 0, "total": 0, "twice": 0}


def test_mistakes_are_told(pipeline):
    """A file without a store, a time that is none, a number that no store has, a store that is none."""
    pipeline.dlq("list", "--since", "yesterday", code=2)
    assert "`yesterday` is no time" in pipeline.done.stderr
    for option in ("--id", "--limit"):
        pipeline.dlq("show", option, 2**63, code=2)
        assert str(2**63 - 1) in pipeline.done.stderr
    pipeline.write(MENDED, FILE.replace("[dead_letters]\npath", "[logging]\n#"))
    pipeline.dlq("list", code=2)
    assert "no `[dead_letters]` table" in " ".join(pipeline.done.stderr.split())
    pipeline.write(MENDED)
    (pipeline.folder / "letters.db").write_text("this is no database at all")
    for command in (["list"], ["show"], ["purge", "--all"], ["replay"]):
        assert pipeline.dlq(*command, code=1) == ""
        assert pipeline.done.stderr.startswith("error[store]: `")
        assert "the file is no database" in pipeline.done.stderr


ENDLESS = """
import asyncio, sys
from dagflow.compile import compile_file
from dagflow.engine.engine import Engine
from dagflow.plugin import Source
from dagflow.record import Record

class Endless(Source):
    async def records(self):
        n = 0
        while True:
            yield Record({"input": "x", "n": 0}, f"r{n}")
            n += 1
    def settle(self, record, outcome):
        print(record.id, outcome.value, flush=True)

asyncio.run(Engine(compile_file(sys.argv[1]), substitutes={"in": Endless()}).run())
"""


def test_what_was_told_survives_a_kill(pipeline):
    """Every record whose outcome somebody had learned has its letter; and others can be read meanwhile."""
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(pipeline.path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    told = [process.stdout.readline().decode() for _ in range(500)]
    assert pipeline.listed("--limit", 1) == ["r0"]
    assert pipeline.dlq("purge", "--record", "r0") == "purged 1 dead letter\n"
    os.kill(process.pid, signal.SIGKILL)
    told += process.stdout.read().decode().splitlines(keepends=True)
    process.wait()
    process.stdout.close()
    whole = [line.split() for line in told if line.endswith("\n")]
    assert {outcome for _, outcome in whole} == {"failed"}
    assert {id for id, _ in whole} - set(pipeline.listed()) == {"r0"}


def test_a_drain_without_time_keeps_what_it_cuts_off(pipeline):
    """Promise 4: what is unfinished is dead-lettered, and the exit code says so."""
    file = FILE.replace('type = "set"\nfields = { total = "WORK" }', 'type = "sleep"\ndelay = "1h"')
    edges = '[pipeline]\ndrain_timeout = "10ms"\nedges = [{ from = "in", to = "out" }, '
    file = file.replace('[pipeline]\nname = "letters"\nedges = [', edges).replace("2 * total", "n")
    pipeline.write("", file)
    process = subprocess.Popen(
        [sys.executable, "-m", "dagflow", "run", str(pipeline.path), "--quiet"], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (pipeline.exists and len(pipeline.output) == 6):
        os.sched_yield()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 75
    assert sorted(pipeline.listed("--error", "unfinished", "--node", "work")) == [f"r{n}" for n in range(6)]
