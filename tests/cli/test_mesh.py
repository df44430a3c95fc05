"""`dagflow mesh`, and `--only` of the commands that have it."""

from __future__ import annotations

import json

import pytest
from peers.processes import free_port
from typer.testing import CliRunner

from dagflow.cli import app

FILE = """
[pipeline]
name = "p"
edges = [{ from = "in", to = "out", via = "bus", capacity = 7 }]
[transports.bus]
type = "nats"
servers = ["nats://127.0.0.1:PORT"]
partitions = 3
connect_timeout = "200ms"
[sources.in]
type = "generate"
[sinks.out]
type = "null"
concurrency = 2
affinity = "session"
"""


@pytest.fixture
def file(tmp_path):
    """A file whose broker is not there."""
    path = tmp_path / "p.toml"
    path.write_text(FILE.replace("PORT", str(free_port())))
    return str(path)


def run(*arguments):
    """Run a command."""
    return CliRunner().invoke(app, list(arguments))


def test_plan_says_what_is_needed(file):
    """It asks no broker; consumers that differ by their number alone are one line."""
    result = run("mesh", "plan", file)
    assert result.exit_code == 0
    stream, consumers = result.stdout.splitlines()
    assert stream.startswith("stream `p_EDGE_in_TO_out`, for edge in -> out: ")
    assert "max_msgs = 7" in stream
    assert consumers.startswith("3 consumers `p0` and on of `p_EDGE_in_TO_out`, for edge in -> out: ")


def test_plan_as_json_has_each_of_them(file):
    """With what it is for, where it is, and its settings."""
    needs = json.loads(run("mesh", "plan", file, "--format", "json").stdout)
    assert [need["name"] for need in needs] == ["p_EDGE_in_TO_out", "p0", "p1", "p2"]
    assert needs[0]["settings"]["retention"] == "workqueue"
    assert {need["created_by_apply"] for need in needs} == {True}


def test_a_file_without_brokers_needs_nothing(tmp_path):
    """That is said, and nobody is asked."""
    path = tmp_path / "p.toml"
    path.write_text(
        '[pipeline]\nedges = [{ from = "in", to = "out" }]\n[sources.in]\ntype = "generate"\n[sinks.out]\ntype = "null"'
    )
    for command in ("plan", "apply"):
        result = run("mesh", command, str(path))
        assert (result.exit_code, result.stdout) == (0, "the file needs nothing of any broker\n")


def test_apply_says_that_nobody_answers(file):
    """With the address, and exit code 1."""
    result = run("mesh", "apply", file)
    assert result.exit_code == 1
    assert "nats://127.0.0.1" in result.stderr


def test_apply_creates_and_tells(tmp_path, file):
    """What was created, and the next time that it is there; in text and as JSON."""
    from peers.nats_server import NatsServer

    with NatsServer(tmp_path / "nats") as server:
        at = f'transports.bus.servers=["{server.url}"]'
        first, second = run("mesh", "apply", file, "--set", at), run("mesh", "apply", file, "--set", at, "-f", "json")
    assert first.stdout.splitlines()[0] == "created: stream `p_EDGE_in_TO_out`, for edge in -> out"
    assert {finding["state"] for finding in json.loads(second.stdout)} == {"there"}
    assert (first.exit_code, second.exit_code) == (0, 0)


@pytest.mark.parametrize("command", ["run", "validate", "graph"])
def test_only_names_nodes(file, command):
    """One that there is not is a wrong command line, with those that there are."""
    result = run(command, file, "--only", "in,nobody")
    assert result.exit_code == 2
    assert "`nobody`" in result.stderr
    assert "`in`, `out`" in result.stderr


def test_only_shows_the_ends_of_cut_edges(file):
    """What is elsewhere is not shown."""
    shown = run("graph", file, "--only", "out").stdout
    assert "in -> out (in)" in shown
    assert "generate" not in shown
    assert run("validate", file, "--only", "out").stdout.endswith("valid, 2 nodes, 1 edge\n")
