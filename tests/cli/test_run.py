"""`dagflow run` as a user runs it: exit codes, signals, what goes to which stream."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

ENDLESS = """
[pipeline]
name = "endless"
drain_timeout = "{drain}"
edges = [{{ from = "in", to = "wait" }}, {{ from = "wait", to = "out" }}, {{ from = "in", to = "first" }}]
[sources.in]
type = "generate"
{count}
rate = "200/s"
[stages.wait]
type = "sleep"
delay = "{delay}"
concurrency = 4
[sinks.out]
type = "null"
[sinks.first]
type = "stdout"
"""


def command(*arguments):
    """The command line of a run."""
    return [sys.executable, "-m", "dagflow", "run", *map(str, arguments)]


def run(path, *arguments, environment=None):
    """Run a file to its end."""
    variables = {**os.environ, **(environment or {})}
    return subprocess.run(
        command(path, *arguments), capture_output=True, text=True, timeout=50, env=variables, check=False
    )


def write(tmp_path, text):
    """Write a pipeline file."""
    path = tmp_path / "p.toml"
    path.write_text(text)
    return path


def simple(tmp_path, stage='type = "sleep"\ndelay = "1ms"', count=5):
    """A file with one stage."""
    return write(
        tmp_path,
        f"""
[pipeline]
name = "simple"
edges = [{{ from = "in", to = "work" }}, {{ from = "work", to = "out" }}]
[sources.in]
type = "generate"
count = {count}
[stages.work]
{stage}
[sinks.out]
type = "stdout"
fields = ["id"]
""",
    )


def test_a_batch_that_is_done_exits_with_0(tmp_path):
    """Data goes to standard output, the report to standard error."""
    done = run(simple(tmp_path))
    assert done.returncode == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"id": f"in:{n}"} for n in range(5)]
    assert "5 accepted" in done.stderr
    assert "5 delivered" in done.stderr


def test_quiet_prints_data_only(tmp_path):
    """`--quiet` leaves standard error empty."""
    done = run(simple(tmp_path), "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 5


def test_failed_records_exit_with_65_unless_allowed(tmp_path):
    """A batch with failed records says so, and `--allow-failures` makes it 0."""
    path = simple(tmp_path, 'type = "fail"\nerror = "refused"')
    assert run(path).returncode == 65
    report = tmp_path / "r.json"
    done = run(path, "--allow-failures", "--report", report)
    assert done.returncode == 0
    content = json.loads(report.read_text())
    assert (content["exit_code"], content["outcomes"]["failed"]) == (0, 5)


def test_a_plugin_that_cannot_open_exits_with_1(tmp_path):
    """Its name and the reason are told; nothing is printed to standard output."""
    path = write(
        tmp_path,
        '[pipeline]\nedges = [{ from = "in", to = "out" }]\n[sources.in]\ntype = "jsonl"\npath = "none.jsonl"\n'
        '[sinks.out]\ntype = "stdout"\n',
    )
    done = run(path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error[open-failed]: `in` could not be opened: ")


def test_an_invalid_file_exits_with_78_and_starts_nothing(tmp_path):
    """The diagnostics are those of `validate`."""
    done = run(write(tmp_path, "[pipeline]\nnaem = 'x'\n"))
    assert done.returncode == 78
    assert "error[unknown-key]" in done.stderr


def test_a_wrong_command_line_exits_with_2(tmp_path):
    """An unknown option is a mistake of the command line."""
    assert run(simple(tmp_path), "--nonsense").returncode == 2


def test_the_report_file_says_what_the_books_say(tmp_path):
    """The keys that programs rely on are there, and the sums balance."""
    report = tmp_path / "r.json"
    run(simple(tmp_path), "--report", report)
    content = json.loads(report.read_text())
    assert content["pipeline"] == "simple"
    assert content["accepted"] == sum(content["outcomes"].values()) == 5
    assert list(content["outcomes"]) == ["delivered", "filtered", "shed", "expired", "failed", "cancelled"]
    edge = content["edges"]["in -> work"]
    assert edge["offered"] == edge["taken"] + edge["shed"] + edge["expired"] + edge["cancelled"] + edge["buffered"]
    assert {"taken", "done", "failed", "retried", "p50_s", "p99_s"} <= content["nodes"]["work"].keys()


def test_a_report_that_cannot_be_written_exits_with_2(tmp_path):
    """Nobody finds out after a long run: it does not begin."""
    done = run(simple(tmp_path), "--report", tmp_path / "no" / "r.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "can't be written" in done.stderr


def test_a_report_goes_to_standard_output_where_asked(tmp_path):
    """After the data, and into no file of that name."""
    *data, report = run(simple(tmp_path), "--report", "-").stdout.partition("{\n")
    assert len(data[0].splitlines()) == 5
    assert json.loads("{" + report)["accepted"] == 5
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize("report", ["p.toml", "in.jsonl", "more/../in.jsonl", "out.jsonl"])
def test_a_report_takes_the_place_of_no_other_file(tmp_path, report):
    """The pipeline, what it reads and what it writes stay: the run does not begin."""
    (tmp_path / "more").mkdir()
    (tmp_path / "in.jsonl").write_text('{"input": "x"}\n')
    path = write(
        tmp_path,
        """
        pipeline.edges = [{ from = "in", to = "out" }]
        sources.in = { type = "jsonl", path = "in*.jsonl" }
        sinks.out = { type = "jsonl", path = "out.jsonl" }
        """,
    )
    done = run(path, "--report", tmp_path / report)
    assert (done.returncode, done.stdout) == (2, "")
    assert "can't be written" in done.stderr
    assert (tmp_path / "in.jsonl").read_text() == '{"input": "x"}\n'
    assert "pipeline.edges" in path.read_text()


def test_a_report_that_can_no_more_be_written_exits_with_1(tmp_path):
    """The run is done, but what was asked for is not."""
    done = run(simple(tmp_path), "--report", "/dev/full")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 5
    assert "the report can't be written to `/dev/full`: No space left on device" in done.stderr


def test_a_standard_error_that_takes_nothing_does_not_matter(tmp_path):
    """Data, report and exit code are as ever."""
    report = tmp_path / "r.json"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command(simple(tmp_path), "--report", report), stdout=subprocess.PIPE, stderr=full, timeout=50, check=False
        )
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 5)
    assert json.loads(report.read_text())["outcomes"]["delivered"] == 5


class Running:
    """A run in the background that has printed at least one record."""

    def __init__(self, path, *arguments):
        self.process = subprocess.Popen(
            command(path, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline(), self.process.stderr.read()
        # Its output is read on, so that it is not held back by a full pipe.
        self.reader = threading.Thread(target=self.process.stdout.read)
        self.reader.start()

    def wait_for(self, word):
        """Read its standard error until a line has the word."""
        assert any(word in line for line in self.process.stderr)

    def signal(self, number):
        """Send a signal, and give the exit code."""
        self.process.send_signal(number)
        self.errors = self.process.stderr.read()
        return self.process.wait(timeout=30)

    def close(self):
        """End it, whatever it does, and its reader."""
        self.process.kill()
        self.reader.join()
        self.process.communicate()


@pytest.fixture
def start():
    """Start runs in the background; they are ended with the test."""
    started = []

    def start_one(path, *arguments):
        started.append(Running(path, *arguments))
        return started[-1]

    yield start_one
    for running in started:
        running.close()


def endless(tmp_path, count="", drain="30s", delay="1ms"):
    """A file whose source goes on and on."""
    return write(tmp_path, ENDLESS.format(count=count, drain=drain, delay=delay))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_a_service_and_exits_with_0(tmp_path, start, number):
    """All that was accepted is delivered."""
    report = tmp_path / "r.json"
    running = start(endless(tmp_path), "--report", report)
    assert running.signal(number) == 0
    content = json.loads(report.read_text())
    assert content["accepted"] == content["outcomes"]["delivered"] > 0
    assert content["stopped_by"] == number.name
    assert f"stopped by {number.name}" in running.errors


def test_a_batch_cut_short_exits_with_75(tmp_path, start):
    """All that was accepted is done, but the source was not read to its end."""
    assert start(endless(tmp_path, count="count = 1000000")).signal(signal.SIGTERM) == 75


def test_what_cannot_be_drained_in_time_is_listed_and_exits_with_75(tmp_path, start):
    """The records that were cut off stand in the report, with their place."""
    report = tmp_path / "r.json"
    running = start(endless(tmp_path, drain="50ms", delay="1h"), "--report", report)
    assert running.signal(signal.SIGTERM) == 75
    content = json.loads(report.read_text())
    assert content["outcomes"]["cancelled"] == len(content["unfinished"]) == content["accepted"]
    assert {row["where"] for row in content["unfinished"]} <= {"wait", "in -> wait"}
    assert "unfinished" in running.errors


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_cancels_and_has_its_own_exit_code(tmp_path, start, number, code):
    """A drain that takes too long for the user is cut short; every record still has an outcome."""
    report = tmp_path / "r.json"
    running = start(endless(tmp_path, delay="1h"), "--report", report)
    running.process.send_signal(number)
    running.wait_for("draining")
    assert running.signal(number) == code
    content = json.loads(report.read_text())
    assert content["accepted"] == sum(content["outcomes"].values())
    assert content["outcomes"]["cancelled"] == content["accepted"]


HANGING = """
import threading
from dagflow import Stage

class Hang(Stage):
    def process(self, record):
        threading.Event().wait()
"""


def install(folder, name, code, stage):
    """Install a package with one stage into a folder, which is to be on PYTHONPATH."""
    (folder / f"{name}.py").write_text(code)
    info = folder / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[dagflow.stages]\n{stage}\n")


def test_a_thread_that_never_returns_does_not_keep_the_command(tmp_path):
    """The record times out, the report is given, and the process ends."""
    install(tmp_path, "hanging", HANGING, "hang = hanging:Hang")
    path = simple(tmp_path, 'type = "hang"\ntimeout = "20ms"', count=1)
    done = run(path, environment={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 65
    assert "1 failed" in done.stderr


def test_a_reader_of_standard_error_may_leave(tmp_path):
    """The run is done to its end, and its exit code says how it went."""
    path = simple(tmp_path, stage='type = "fail"\nrate = 0.5', count=20)
    running = subprocess.Popen(
        command(path, "--allow-failures"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    running.stderr.close()
    lines = running.stdout.read().splitlines()
    running.stdout.close()
    assert running.wait(50) == 0
    assert 0 < len(lines) < 20


def test_a_reader_of_standard_output_may_leave(tmp_path):
    """As `head` does: the run ends soon, though its source does not, and says why."""
    path = endless(tmp_path)
    running = subprocess.Popen(command(path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout.readline()
    running.stdout.close()
    errors = running.stderr.read()
    assert running.wait(50) == 1
    assert "`stdout` could not be written: whoever read it has closed it" in errors
    assert "Traceback" not in errors
    running.stderr.close()


LEAKY = """
from pydantic import SecretStr
from dagflow import Options, Stage

class Leak(Stage):
    class Options(Options):
        key: SecretStr

    async def open(self, context):
        await super().open(context)
        context.logger.info("logged in", key=self.options.key.get_secret_value())

    async def process(self, record):
        key = self.options.key.get_secret_value()
        try:
            raise KeyError(key)
        except KeyError as error:
            raise ValueError(f"401 with {key}") from error
"""


@pytest.mark.parametrize("format", ["console", "json"])
def test_no_secret_is_told_by_a_run(tmp_path, format):
    """Neither in logs and tracebacks, nor in the table, nor in the report."""
    install(tmp_path, "leaky", LEAKY, "leak = leaky:Leak")
    report = tmp_path / "r.json"
    path = simple(tmp_path, 'type = "leak"\nkey = "${env:KEY}"')
    arguments = ("--report", report, "--set", f"logging.format={format}")
    done = run(path, *arguments, environment={"PYTHONPATH": str(tmp_path), "KEY": "sk-'12\"34"})
    assert done.returncode == 65
    assert "401 with **********" in done.stderr
    assert "ValueError: 401 with **********" in report.read_text()
    assert "sk-" not in done.stdout + done.stderr + report.read_text()
