"""`dagflow graph`: formats, what the stream can take, and files with mistakes."""

import io
import json

import pytest
from typer.testing import CliRunner

from dagflow.cli import app
from dagflow.cli.graph import Format, render_plan
from dagflow.compile import compile_text

FILE = """
[pipeline]
name = "small"
edges = [{ from = "made", to = "out", capacity = 8 }]

[sources.made]
type = "generate"
count = 1

[sinks.out]
type = "null"
"""


@pytest.fixture
def call(tmp_path):
    """Give a function that calls `dagflow graph` with a file of this text."""
    path = tmp_path / "small.toml"

    def run(text, *arguments):
        path.write_text(text, encoding="utf-8")
        return CliRunner().invoke(app, ["graph", str(path), *arguments])

    return run


def test_text(call):
    """Without options it draws text."""
    result = call(FILE)
    assert result.exit_code == 0
    assert (
        result.stdout
        == """\
small: 1 source, 1 sink, 1 edge
max_in_flight 4096, drain_timeout 30s

● made  source  generate
│   --[8 block]--> out
● out   sink    null      concurrency 1
"""
    )


@pytest.mark.parametrize(
    ("format", "begins"),
    [("mermaid", "flowchart LR\n"), ("dot", 'digraph "small" {\n'), ("svg", "<svg xmlns="), ("json", "{\n")],
)
def test_formats(call, format, begins):
    """Each format goes to standard output, and nothing else does."""
    assert call(FILE, "--format", format).stdout.startswith(begins)


def test_override(call):
    """What is drawn is the file as it would run."""
    result = call(FILE, "--format", "json", "--set", "pipeline.edges.0.capacity=16")
    assert json.loads(result.stdout)["edges"][0]["capacity"] == 16


def test_mistakes(call):
    """A file with an error is not drawn."""
    result = call(FILE.replace('to = "out"', 'to = "outt"'))
    assert result.exit_code == 78
    assert result.stdout == ""
    assert "error[unknown-node]" in result.stderr


@pytest.mark.parametrize(("encoding", "glyph"), [("utf-8", "●"), ("ascii", "*"), ("latin-1", "*")])
def test_plain_characters_where_the_stream_needs_them(encoding, glyph):
    """The encoding of the stream decides, so that printing never fails."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    drawn = render_plan(compile_text(FILE), Format.TEXT, stream)
    assert f"\n{glyph} made" in drawn
    stream.write(drawn)


@pytest.mark.parametrize(("columns", "width"), [("20", 80), ("100", 100), ("400", 120)])
def test_width_follows_the_terminal(monkeypatch, columns, width):
    """The drawing fills the terminal, within what can be read."""
    monkeypatch.setenv("COLUMNS", columns)
    condition = " or ".join(f"n == {number}" for number in range(60))
    file = FILE.replace("capacity = 8", f'when = "{condition}"')
    longest = max(map(len, render_plan(compile_text(file), Format.TEXT, io.StringIO()).splitlines()))
    assert width - 12 < longest <= width
