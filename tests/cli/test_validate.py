"""`dagflow validate`, beyond the cases: formats, exit codes, streams and colours."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from toys import chain

from dagflow.cli import common

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typer.testing import Result

FILE = chain('type = "fill"\ntemplate = "x"')
WARNED = FILE.replace('type = "fill"', 'type = "fill"\ntimeout = "1min"')
WRONG = WARNED.replace('to = "z"', 'to = "y"')


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Write a file into an empty directory and go there; give its name."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> str:
        (tmp_path / "p.toml").write_text(text)
        return "p.toml"

    return write


def test_a_valid_file_is_told_in_one_line(dagflow: Callable[..., Result], pipeline: Callable[[str], str]) -> None:
    """On standard output, with its size."""
    result = dagflow("validate", pipeline(FILE))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "p.toml: valid, 3 nodes, 2 edges\n", "")


def test_warnings_alone_are_valid(dagflow: Callable[..., Result], pipeline: Callable[[str], str]) -> None:
    """They go to standard error."""
    result = dagflow("validate", pipeline(WARNED))
    assert (result.exit_code, result.stdout) == (0, "p.toml: valid, 3 nodes, 2 edges\n")
    assert result.stderr.startswith("warning[timeout-exceeds-drain]: ")
    assert result.stderr.endswith("\n\n1 warning\n")


def test_errors_exit_with_78(dagflow: Callable[..., Result], pipeline: Callable[[str], str]) -> None:
    """And are counted beside the warnings."""
    result = dagflow("validate", pipeline(WRONG))
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr.endswith("\n\n1 error, 1 warning\n")


@pytest.mark.parametrize(("text", "codes", "exit_code"), [(FILE, [], 0), (WARNED, ["timeout-exceeds-drain"], 0)])
def test_json_of_a_valid_file(
    dagflow: Callable[..., Result], pipeline: Callable[[str], str], text: str, codes: list[str], exit_code: int
) -> None:
    """A list on standard output, and nothing else."""
    result = dagflow("validate", pipeline(text), "--format", "json")
    assert [item["code"] for item in json.loads(result.stdout)] == codes
    assert (result.exit_code, result.stderr) == (exit_code, "")


def test_json_of_a_wrong_file(dagflow: Callable[..., Result], pipeline: Callable[[str], str]) -> None:
    """Each item has the public keys, with the path as the user named it."""
    result = dagflow("validate", pipeline(WRONG), "--format", "json")
    unknown, slow = json.loads(result.stdout)
    assert unknown == {
        "code": "unknown-node",
        "severity": "error",
        "message": "edge goes to `y`, which does not exist",
        "path": "p.toml",
        "line": 4,
        "column": 22,
        "hint": "there are `b`, `z`",
    }
    assert slow["severity"] == "warning"
    assert (result.exit_code, result.stderr) == (78, "")


def test_github_annotations(dagflow: Callable[..., Result], pipeline: Callable[[str], str]) -> None:
    """One command a line; a valid file has none."""
    result = dagflow("validate", pipeline(WRONG), "--format", "github")
    assert result.stdout.splitlines()[0] == (
        "::error file=p.toml,line=4,col=22,title=unknown-node::edge goes to `y`, which does not exist"
        "%0Ahint: there are `b`, `z`"
    )
    assert result.exit_code == 78
    assert dagflow("validate", pipeline(FILE), "--format", "github").stdout == ""


def test_overrides_are_part_of_the_file(dagflow: Callable[..., Result], pipeline: Callable[[str], str]) -> None:
    """They can mend it and break it."""
    assert dagflow("validate", pipeline(WRONG), "--set", "pipeline.edges.1.to=z").exit_code == 0
    broken = dagflow("validate", pipeline(FILE), "--set", "stages.b.concurrency=0", "--set", "stages.b.timeout=1s")
    assert broken.exit_code == 78
    assert "  --> --set stages.b.concurrency=0\n" in broken.stderr


@pytest.mark.parametrize(
    "arguments",
    [(), ("p.toml", "--format", "xml"), ("p.toml", "--set", "no-value"), ("p.toml", "--nonsense"), ("a", "b")],
)
def test_a_wrong_command_line_exits_with_2(
    dagflow: Callable[..., Result], pipeline: Callable[[str], str], arguments: tuple[str, ...]
) -> None:
    """It is not the file that is wrong."""
    pipeline(FILE)
    assert dagflow("validate", *arguments).exit_code == 2


@pytest.mark.parametrize(
    ("terminal", "variables", "colours"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colours_are_for_terminals(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, variables: dict[str, str], colours: bool
) -> None:
    """Unless the user wants none."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    assert common.takes_colour(sys.stderr) is colours
