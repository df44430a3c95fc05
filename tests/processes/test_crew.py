"""Pipelines in several processes, as their users run them: split, relayed, killed, drained, resumed, poisoned."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections import Counter, defaultdict

import pytest
from peers.crews import FILE, CrewRun, balances
from peers.processes import wait_until

CHECKPOINT = '[checkpoint]\npath = "checkpoint.db"\n'
STDIN = FILE.replace('path = "in.jsonl"', 'path = "-"')
LETTERS = '[dead_letters]\npath = "letters.db"\n'


def ids(run, name="out.jsonl"):
    """How often each id stands in an output."""
    return Counter(line["id"] for line in run.written(name))


@pytest.mark.parametrize("text", [FILE, STDIN])
def test_each_record_is_answered_once(tmp_path, text):
    """By one of two processes; their lines meet in one file, and their books in one report."""
    run = CrewRun(tmp_path, text)
    report = run.run()
    assert ids(run) == Counter(run.ids)
    assert balances(report)
    assert report["outcomes"]["delivered"] == 1000
    assert report["nodes"]["out"]["taken"] == report["workers"]["main"]["answered"] == 1000
    assert report["nodes"]["out"]["p99_s"] > 0
    assert report["edges"]["in -> ask"]["capacity"] == 512
    assert report["sources"]["in"]["ended"]
    assert [row["index"] for row in report["processes"]] == [0, 1]
    assert all(row["accepted"] > 300 and not row["alive"] for row in report["processes"])
    assert "checkpoint" not in report


@pytest.mark.parametrize("text", [FILE, STDIN, FILE + CHECKPOINT])
def test_killed_children_are_replaced(tmp_path, text):
    """What a child had not ended is done once more: nothing is missing, and nothing stands twice."""
    run = CrewRun(tmp_path, text.replace("2ms", "20ms"), lines=1500)
    run.start()
    for lines, index in ((50, 0), (200, 1), (350, 0)):
        run.wait_written(lines)
        run.kill_child(index)
    report = run.end()
    assert ids(run) == Counter(run.ids)
    assert balances(report)
    assert report["outcomes"] | {"delivered": 1500} == report["outcomes"]
    assert sum(row["restarts"] for row in report["processes"]) == 3
    assert run.errors.count("a process died") == 3


def test_a_parent_that_is_killed(tmp_path):
    """Its children end with it, and the next run goes on where it was."""
    run = CrewRun(tmp_path, FILE.replace("2ms", "10ms") + CHECKPOINT)
    (tmp_path / "temporary").mkdir()
    run.start(TMPDIR=str(tmp_path / "temporary"))
    run.wait_written(300)
    children = run.children()
    assert len(list((tmp_path / "temporary").iterdir())) == 1
    run.process.kill()
    run.process.wait(timeout=50)
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in children))
    assert not list((tmp_path / "temporary").iterdir())
    report = run.run()
    assert ids(run) == Counter(run.ids)
    assert report["checkpoint"]["resumed"]
    assert report["checkpoint"]["skipped"] + report["accepted"] == 1000
    assert report["checkpoint"]["skipped"] > 100


def test_another_number_of_processes_goes_on(tmp_path):
    """A checkpoint does not care who does the work."""
    run = CrewRun(tmp_path, FILE + CHECKPOINT)
    run.start()
    run.wait_written(100)
    run.process.send_signal(signal.SIGTERM)
    run.end(75)
    report = run.run("--set", "runtime.processes=1")
    assert ids(run) == Counter(run.ids)
    assert "processes" not in report
    run.write(FILE + CHECKPOINT)
    assert run.run()["accepted"] == 0


@pytest.mark.parametrize("text", [FILE, STDIN])
def test_a_drain_finishes_what_is_in_flight(tmp_path, text):
    """The exit code says that there was more; what had been taken in is delivered."""
    run = CrewRun(tmp_path, text, lines=20_000)
    run.start()
    run.wait_written(200)
    run.process.send_signal(signal.SIGTERM)
    report = run.end(75)
    assert report["stopped_by"] == "SIGTERM"
    assert balances(report)
    assert report["outcomes"]["delivered"] == report["accepted"] == len(run.written()) < 20_000
    assert not report["in_flight"]


def test_a_second_signal_ends_at_once(tmp_path):
    """Work that hangs is cancelled, and every record has its outcome."""
    edges = '{ from = "in", to = "out" }, { from = "in", to = "ask" }, { from = "ask", to = "end" }]'
    text = FILE.replace('{ from = "in", to = "ask" }, { from = "ask", to = "out" }]', edges).replace("2ms", "60s")
    run = CrewRun(tmp_path, text + '[sinks.end]\ntype = "null"\n')
    run.start()
    run.wait_written(20)
    run.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "draining" in (run.path / "stderr").read_text())
    run.process.send_signal(signal.SIGINT)
    report = run.end(130)
    assert balances(report)
    assert report["outcomes"]["cancelled"] == report["accepted"] > 0


@pytest.mark.parametrize("text", [FILE, STDIN])
def test_sessions_keep_their_order(tmp_path, text):
    """Those of a split file and those that the parent relays, also while another process is killed."""
    text = text.replace("concurrency = 16\n", 'concurrency = 4\naffinity = "session"\n')
    run = CrewRun(tmp_path, text.replace("2ms", "lognormal(5ms, 1)"), lines=500, sessions=20)
    run.start()
    run.wait_written(50)
    run.kill_child()
    run.end()
    numbers = defaultdict(list)
    for line in run.written():
        numbers[line["session"]].append(int(line["id"][1:]))
    assert ids(run) == Counter(run.ids)
    assert all(found == sorted(found) for found in numbers.values())


PACKAGE = '''
import os

from dagflow import Record, RecordError, Sink, Source, Stage


class Kill(Stage):
    """Ends its process at some records."""

    async def process(self, record):
        if record["prompt"] == "Say 7":
            os._exit(9)
        return record


class GiveUp(Stage):
    """Fails at one record in a way that no later one can be better off."""

    async def process(self, record):
        if record["prompt"] == "Say 7":
            error = RecordError("nothing goes any more")
            error.ends_run = True
            raise error
        return record


class Keep(Sink):
    """Writes lines of its own, by a plain function."""

    def write(self, record):
        with open("kept.jsonl", "a") as file:
            file.write('{"id": "%s", "pid": %d, "text": "%s"}\\n' % (record.id, os.getpid(), record["completion"].text))


class Once(Source):
    """Brings records that nobody could bring again, and notes how they ended."""

    def writes(self):
        return {"prompt"}

    async def records(self):
        for n in range(500):
            yield Record({"prompt": f"Say {n + 100}"}, f"r{n}")

    def settle(self, record, outcome):
        with open("settled", "a") as file:
            file.write(f"{record.id} {outcome.value}\\n")
'''
OFFERS = """
[dagflow.stages]
kill = package:Kill
give-up = package:GiveUp
[dagflow.sinks]
keep = package:Keep
[dagflow.sources]
once = package:Once
"""


@pytest.fixture
def package(tmp_path):
    """A package of somebody else's, installed for programs that are started; gives their variables."""
    folder = tmp_path / "package"
    (folder / "package-1.0.dist-info").mkdir(parents=True)
    (folder / "package.py").write_text(PACKAGE)
    (folder / "package-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: package\nVersion: 1.0\n")
    (folder / "package-1.0.dist-info" / "entry_points.txt").write_text(OFFERS)
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


def test_plugins_that_know_nothing_of_processes(tmp_path, package):
    """A source and a sink live in the parent; a killed child changes nothing for them."""
    text = FILE.replace('type = "jsonl"\npath = "in.jsonl"\nfields = ["prompt"]', 'type = "once"').replace(
        "2ms", "20ms"
    )
    text = text.replace('type = "jsonl"\npath = "out.jsonl"\nfields = ["id", "session", "prompt"]', 'type = "keep"')
    run = CrewRun(tmp_path, text, lines=500)
    run.start(**package)
    (tmp_path / "kept.jsonl").touch()
    wait_until(lambda: len(run.written("kept.jsonl")) > 50, within_s=50)
    run.kill_child()
    report = run.end()
    kept = run.written("kept.jsonl")
    assert Counter(line["id"] for line in kept) == Counter(run.ids)
    assert {line["pid"] for line in kept} == {run.process.pid}
    assert kept[0]["text"].startswith("Say")
    settled = (tmp_path / "settled").read_text().splitlines()
    assert Counter(settled) == Counter(f"{id} delivered" for id in run.ids)
    assert balances(report)


@pytest.mark.parametrize("text", [FILE, STDIN])
def test_poison(tmp_path, package, text):
    """A record that kills each process that has it ends as a dead letter; all others are delivered."""
    text = text.replace('"ask" }, { from = "ask"', '"kill" }, { from = "kill", to = "ask" }, { from = "ask"')
    text = text.replace("[sinks.out]", '[stages.kill]\ntype = "kill"\n[sinks.out]') + "max_redeliveries = 2\n" + LETTERS
    run = CrewRun(tmp_path, text, lines=40)
    report = run.run(code=65, **package)
    assert ids(run) == Counter(id for id in run.ids if id != "r7")
    assert report["outcomes"]["failed"] == 1
    assert balances(report)
    assert [error["code"] for error in report["errors"]] == ["redelivered"]
    assert sum(row["restarts"] for row in report["processes"]) == 3
    with sqlite3.connect(run.path / "letters.db") as letters:
        assert letters.execute("SELECT record, code FROM letters").fetchall() == [("r7", "redelivered")]


def test_a_failure_that_all_share(tmp_path, package):
    """Ends the run in all processes, not only in that which met it."""
    text = FILE.replace('"ask" }, { from = "ask"', '"stop" }, { from = "stop", to = "ask" }, { from = "ask"')
    text = text.replace("[sinks.out]", '[stages.stop]\ntype = "give-up"\n[sinks.out]')
    run = CrewRun(tmp_path, text.replace("2ms", "20ms"), lines=20_000)
    report = run.run(code=1, **package)
    assert report["accepted"] < 10_000
    assert "nothing goes any more" in report["stopped_by"]
    assert balances(report)


def test_what_cannot_be_opened(tmp_path):
    """Ends the start with the error of the child, as if there were one process; nothing is written."""
    run = CrewRun(tmp_path, FILE.replace('path = "in.jsonl"', 'path = "missing.jsonl"'))
    run.start()
    assert run.process.wait(timeout=50) == 1
    [told] = (run.path / "stderr").read_text().splitlines()
    assert told.startswith("error[open-failed]: `in` could not be opened")
    assert not run.written()


def test_a_file_that_means_something_else(tmp_path):
    """Is refused by the parent, with the code that one process has."""
    run = CrewRun(tmp_path, FILE + CHECKPOINT, lines=100)
    run.run()
    run.start("--set", "stages.ask.parameters.temperature=0.5")
    assert run.process.wait(timeout=50) == 78
    assert run.run("--fresh", "--set", "stages.ask.parameters.temperature=0.5")["accepted"] == 100


def test_failures_and_letters_of_all(tmp_path):
    """Both processes keep their dead letters in one store."""
    text = FILE.replace('delay = "2ms"', "error_rate = 0.2\nseed = 5") + LETTERS
    run = CrewRun(tmp_path, text)
    report = run.run(code=65)
    failed = report["outcomes"]["failed"]
    assert 100 < failed < 300
    assert sum(error["count"] for error in report["errors"]) == failed == report["dead_letters"]["kept"]
    assert len(ids(run)) == 1000 - failed
    assert balances(report)


def test_a_pipe_as_output(tmp_path):
    """Lines of both are whole."""
    run = CrewRun(tmp_path, FILE.replace('type = "jsonl"\npath = "out.jsonl"', 'type = "stdout"').replace("2ms", "0ms"))
    done = subprocess.run(
        [sys.executable, "-m", "dagflow", "run", "-q", "p.toml"], cwd=tmp_path, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert Counter(json.loads(line)["id"] for line in done.stdout.splitlines()) == Counter(run.ids)


@pytest.mark.parametrize("text", [FILE, FILE.replace('path = "in.jsonl"', 'path = "missing.jsonl"'), STDIN])
def test_nothing_is_left_behind(tmp_path, text):
    """Neither folders of the run nor children, whether it ran or could not start."""
    (tmp_path / "tmp").mkdir()
    run = CrewRun(tmp_path, text + '[admin]\nlisten = "127.0.0.1:0"\ntoken_file = "token.json"\n', lines=50)
    run.start(TMPDIR=str(tmp_path / "tmp"))
    run.process.wait(timeout=50)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not (tmp_path / "token.json").exists()


def test_an_admin_listener_that_cannot_listen(tmp_path):
    """Ends the start before there is a child, and leaves nothing behind."""
    (tmp_path / "tmp").mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        admin = f'[admin]\ntoken_file = "token.json"\nlisten = "127.0.0.1:{taken.getsockname()[1]}"\n'
        run = CrewRun(tmp_path, FILE + admin, lines=5)
        run.start(TMPDIR=str(tmp_path / "tmp"))
        assert run.process.wait(timeout=50) == 1
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not run.written()


def test_pinned_cores(tmp_path):
    """Each process keeps to a core of its own, in turn; without it, to none."""
    for pinned in ("pin_cores = true\n", ""):
        run = CrewRun(tmp_path, FILE.replace("2ms", "100ms") + pinned)
        (tmp_path / "out.jsonl").unlink(missing_ok=True)
        run.start()
        run.wait_written(1)
        allowed = [os.sched_getaffinity(pid) for pid in run.children()]
        run.process.kill()
        run.process.wait(timeout=50)
        available = sorted(os.sched_getaffinity(0))
        if pinned:
            assert sorted(allowed, key=sorted) == sorted(({available[n % len(available)]} for n in (0, 1)), key=sorted)
        else:
            assert allowed == [set(available)] * 2
