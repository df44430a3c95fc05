"""`dagflow validate --probe`: each worker is tried, and told apart from the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from dagflow.cli import app

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer.testing import Result

FILE = """
[pipeline]
edges = [{ from = "in", to = "prompt" }, { from = "prompt", to = "ask" }, { from = "ask", to = "out" }]
[sources.in]
type = "generate"
count = 1
[stages.prompt]
type = "template"
template = "{{ input }}"
[stages.ask]
type = "inference"
worker = "all"
[sinks.out]
type = "null"
[workers.all]
type = "pool"
members = ["quick", "slow"]
[workers.quick]
type = "echo"
[workers.slow]
type = "echo"
delay = "1h"
"""


@pytest.fixture
def builtin() -> Callable[..., Result]:
    """Run a command with the installed plugins."""
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.fixture(autouse=True)
def _file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.toml").write_text(FILE)


def test_all_that_answer(builtin: Callable[..., Result]) -> None:
    """One line each."""
    result = builtin("validate", "p.toml", "--probe", "--set", "workers.slow.delay=0s")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "p.toml: valid, 4 nodes, 3 edges",
        "worker `quick` (echo): model `echo` answers",
        "worker `slow` (echo): model `echo` answers",
        "worker `all` (pool): asks `quick`, `slow`",
    ]


def test_one_that_takes_too_long(builtin: Callable[..., Result]) -> None:
    """It is told with its place; the others are told all the same."""
    result = builtin("validate", "p.toml", "--probe", "--probe-timeout", "50ms")
    assert result.exit_code == 78
    assert "worker `quick` (echo): model `echo` answers" in result.stdout
    assert "worker `slow` cannot answer: it did not answer within 0.05 s" in result.stderr
    assert "p.toml:20:1" in result.stderr


def test_as_json(builtin: Callable[..., Result]) -> None:
    """A list of diagnostics, as for any other mistake."""
    result = builtin("validate", "p.toml", "--probe", "--probe-timeout", "50ms", "--format", "json")
    [finding] = json.loads(result.stdout)
    assert (finding["code"], finding["line"]) == ("worker-does-not-answer", 20)


def test_a_time_that_is_none(builtin: Callable[..., Result]) -> None:
    """It is a wrong command line."""
    result = builtin("validate", "p.toml", "--probe", "--probe-timeout", "soon")
    assert result.exit_code == 2
    assert "expected a duration" in result.stderr
