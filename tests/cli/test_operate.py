"""`dagflow top` against a pipeline that runs in a process of its own."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from dagflow.cli.top_view import Rates, render_text

FILE = """
[pipeline]
name = "watched"
edges = [{ from = "in", to = "ask" }, { from = "ask", to = "out" }]
[sources.in]
type = "generate"
rate = "200/s"
[stages.ask]
type = "template"
template = "{{ input }}"
[sinks.out]
type = "null"
[admin]
listen = "127.0.0.1:0"
"""


def command(*arguments):
    """The command as a list."""
    return [sys.executable, "-m", "dagflow", *map(str, arguments)]


def top(*arguments):
    """Call `dagflow top`; give its exit code and what it printed."""
    done = subprocess.run(command("top", *arguments), capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that is the runtime folder of the user, too."""
    return tmp_path_factory.mktemp("top")


@pytest.fixture(scope="module", autouse=True)
def runtime(folder):
    """Where token files are by default."""
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    yield
    del os.environ["XDG_RUNTIME_DIR"]
    if before is not None:
        os.environ["XDG_RUNTIME_DIR"] = before


@pytest.fixture(scope="module")
def file(folder, runtime):
    """A pipeline file that runs."""
    path = folder / "p.toml"
    path.write_text(FILE)
    process = subprocess.Popen(command("run", path, "--quiet"), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not list(folder.glob("dagflow/*.json")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    yield path
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert not list(folder.glob("dagflow/*.json"))


def test_text(file):
    """Each reading is a table of nodes and one of edges; from the second one on with rates."""
    code, out, _ = top(file, "--count", 2, "--interval", "300ms")
    assert code == 0
    first, second = out.split("watched: running, ready")[1:]
    assert "- settled" in first
    assert "/s settled" in second
    assert [line.split()[0] for line in second.splitlines() if line.startswith(("in", "ask", "out", "node", "edge"))]
    assert "in -> ask" in second


def test_json_lines(file):
    """Each reading is a JSON object on a line of its own: the status and the rates."""
    code, out, _ = top(file, "--json", "--count", 2, "--interval", "50ms")
    one, other = map(json.loads, out.splitlines())
    assert code == 0
    assert one["rates"] == {}
    assert other["rates"]["settled"] >= 0
    assert other["nodes"]["out"]["kind"] == "sink"
    assert other["accepted"] >= one["accepted"]


def test_by_address_and_token_file(file, folder):
    """A listener behind a tunnel is found by its address; the token is that of a file."""
    [token_file] = folder.glob("dagflow/*.json")
    address = json.loads(token_file.read_text())["address"].removeprefix("http://")
    code, out, _ = top("--address", address, "--token-file", token_file, "--count", 1)
    assert (code, "watched" in out) == (0, True)


def test_the_link_of_the_page(file, folder):
    """It has the token in its fragment, which no server gets."""
    written = json.loads(next(folder.glob("dagflow/*.json")).read_text())
    assert top(file, "--link") == (0, f"{written['address']}/#token={written['token']}\n", "")


def test_a_terminal_is_left_as_it_was(file):
    """On a terminal it draws on a screen of its own, and leaves that at the end."""
    pid, terminal = pty.fork()
    if not pid:
        arguments = command("top", file, "--count", 2, "--interval", "50ms")
        os.execvpe(sys.executable, arguments, os.environ | {"TERM": "xterm"})
    shown = b""
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:
            break
        shown += part
        if not part:
            break
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    assert b"watched" in shown
    assert shown.index(b"\x1b[?1049h") < shown.index(b"watched") < shown.index(b"\x1b[?1049l")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "expected a pipeline file, or `--address`"),
        (["x.toml", "--address", "127.0.0.1:1"], 2, "expected a pipeline file, or `--address`"),
        (["--address", "127.0.0.1:1"], 2, "--token-file"),
        (["--address", "example.org:1", "--token-file", "x"], 1, "no address of this machine"),
        (["--address", "127.0.0.1:1", "--token-file", "x"], 1, "no token file"),
        (["nowhere.toml"], 78, "nowhere.toml"),
        (["none.toml"], 1, "has no `[admin]` table"),
        (["idle.toml"], 1, "does not run"),
        (["gone.toml"], 1, "nobody answers at http://127.0.0.1:1: the pipeline has ended"),
        (["idle.toml", "--interval", "0s"], 2, "more than none"),
        (["idle.toml", "--interval", "soon"], 2, "expected a duration with a unit"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, monkeypatch, arguments, code, words):
    """The message says what was found, and the remedy."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none.toml").write_text(FILE.partition("[admin]")[0])
    (tmp_path / "idle.toml").write_text(FILE)
    (tmp_path / "gone.toml").write_text(FILE + 'token_file = "gone.json"\n')
    (tmp_path / "gone.json").write_text('{"address": "http://127.0.0.1:1", "token": "x", "pid": 1}')
    found, _, err = top(*arguments)
    assert found == code
    assert words in " ".join(err.replace("│", " ").split())


def test_names_from_the_file_cannot_steer_the_terminal():
    """Control characters in what a pipeline says are replaced."""
    status = {
        "pipeline": "x\x1b[2J",
        "state": "running",
        "ready": False,
        "reasons": [{"what": "worker `a`", "reason": "\x07gone"}],
        "stopped_by": None,
        "uptime_s": 1.0,
        "accepted": 0,
        "taken_in": 0,
        "taken_over": 0,
        "handed_off": 0,
        "settled": 0,
        "in_flight": 0,
        "max_in_flight": 1,
        "outcomes": {"delivered": 0},
        "nodes": {},
        "edges": {},
        "workers": {},
    }
    text = render_text(status, Rates())
    assert "\x1b" not in text
    assert "worker `a`: \ufffdgone" in text


def test_a_counter_that_began_anew_has_no_negative_rate():
    """The pipeline behind an address may be another one than a moment ago."""
    rates = Rates()
    status = {"time": 1.0, "taken_in": 10, "settled": 10, "nodes": {}, "edges": {}, "workers": {}}
    for reading in (status, status | {"time": 2.0, "taken_in": 3, "settled": 3}):
        rates.read(reading)
    assert rates.as_dict() == {"accepted": 0.0, "settled": 0.0}


def tap(*arguments):
    """Call `dagflow tap`; give its exit code and what it printed."""
    done = subprocess.run(command("tap", *arguments), capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout, done.stderr


def test_tap_of_an_edge(file):
    """Samples as text, or as JSON lines; spaces around the arrow do not matter."""
    code, out, _ = tap(file, "in->ask", "--limit", 2, "--rate", 1000)
    assert code == 0
    assert out.count("in -> ask  record in:") == 2
    assert "  input: text of" in out
    assert "passed, 2 shown, 0 dropped" in out
    code, out, _ = tap(file, "ask -> out", "--limit", 1, "--json", "--payload", "--fields", "prompt")
    sample, end = map(json.loads, out.splitlines())
    assert (code, sample["fields"].keys(), end["shown"]) == (0, {"prompt"}, 1)
    assert sample["fields"]["prompt"].startswith("record ")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["in -> out"], 1, "there is no edge `in -> out`; the pipeline has `in -> ask`, `ask -> out`"),
        (["main"], 1, "there is no worker `main`; the pipeline has none"),
        ([], 2, "expected a pipeline file, and an edge or a worker"),
        (["a", "b", "c"], 2, "expected a pipeline file, and an edge or a worker"),
    ],
)
def test_tap_of_what_is_not_there(file, arguments, code, words):
    """The message names what there is."""
    found, _, err = tap(file, *arguments)
    assert (found, words in " ".join(err.split())) == (code, True), err


def test_a_tap_ends_by_a_signal(file):
    """It prints as samples come, and leaves with 130 when it is interrupted."""
    process = subprocess.Popen(command("tap", file, "in->ask"), stdout=subprocess.PIPE, text=True)
    assert "in -> ask" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    process.stdout.close()


def test_readers_of_samples_may_leave(file):
    """A pipe whose reader has enough is no error."""
    process = subprocess.Popen(
        command("tap", file, "in->ask", "--rate", 1000), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline()
    process.stdout.close()
    assert (process.wait(20), process.stderr.read()) == (0, b"")
    process.stderr.close()
