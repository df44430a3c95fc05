"""Standard streams that are closed, or that cannot show a character."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib

import pytest

MADE = 'type = "generate"\ncount = 2'
KEPT = 'type = "jsonl"\npath = "out.jsonl"'


@pytest.fixture
def call(tmp_path):
    """Call `dagflow` through a shell with redirections, on a file `p.toml` with this source and sink."""

    def run(command, redirections="", source=MADE, sink=KEPT, **environment):
        edges = '[pipeline]\nname = "grün 日本"\nedges = [{ from = "in", to = "out" }]'
        (tmp_path / "p.toml").write_text(f"{edges}\n[sources.in]\n{source}\n[sinks.out]\n{sink}\n", encoding="utf-8")
        line = f'exec "$0" -m dagflow {command} p.toml {redirections}'
        variables = {**os.environ, **environment}
        arguments = ["sh", "-c", line, sys.executable]
        return subprocess.run(arguments, cwd=tmp_path, capture_output=True, env=variables, timeout=50, check=False)

    return run


@pytest.mark.parametrize("redirections", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_run_works_with_closed_streams(call, tmp_path, redirections):
    """No file that it opens takes the number of a closed stream."""
    assert call("run", redirections).returncode == 0
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2


def test_a_closed_standard_input_is_not_an_empty_one(call):
    """Who reads it is told."""
    done = call("run", "<&-", source='type = "jsonl"\npath = "-"')
    assert done.returncode == 1
    assert b"Bad file descriptor" in done.stderr


def test_nothing_is_delivered_to_a_closed_standard_output(call):
    """Who prints on it is told."""
    done = call("run", ">&-", sink='type = "stdout"')
    assert done.returncode == 65
    assert b"`stdout` could not be written" in done.stderr


@pytest.mark.parametrize("command", ["show", "graph --format json", "validate --format json"])
def test_a_document_that_cannot_be_written_is_told_in_one_line(call, command):
    """A full disk is no defect of the program."""
    done = call(command, ">/dev/full")
    assert done.returncode == 1
    assert done.stderr == b"error: standard output could not be written: No space left on device\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_documents_are_utf_8_whatever_the_terminal_takes(call, encoding):
    """A file that a program reads has its characters as they are."""
    shown, drawn = (call(command, PYTHONIOENCODING=encoding).stdout for command in ("show", "graph --format json"))
    assert tomllib.loads(shown.decode())["pipeline"]["name"] == "grün 日本"
    assert json.loads(drawn)["pipeline"] == "grün 日本"


def test_what_people_read_never_fails_at_a_character(call):
    """It is escaped where the terminal cannot show it."""
    assert call("graph", PYTHONIOENCODING="ascii").stdout.startswith(rb"gr\xfcn \u65e5\u672c: 1 source, 1 sink")
