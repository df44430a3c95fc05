"""The one path from text to plan."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import chain, codes, findings, plan_of

from dagflow.compile import compile_file, compile_text
from dagflow.errors import ConfigError
from dagflow.expressions import Expression
from dagflow.graph.plan import EdgePlan, LoggingPlan, RetryPlan

FILE = """\
[pipeline]
name = "whole"
max_in_flight = 1024
drain_timeout = "1min"
edges = [
  { from = "late", to = "answers", capacity = 8, max_bytes = "1KiB", max_wait = "2s" },
  { from = "questions", to = "late", when = "input", when_full = "drop_lowest" },
  { from = "late.error", to = "errors", best_effort = false, block_timeout = "5s" },
]

[sinks.errors]
type = "show"
concurrency = 2

[sinks.answers]
type = "toys:show"
fields = ["completion"]

[stages.late]
type = "ask"
worker = "main"
others = ["spare", "main"]
concurrency = 3
timeout = "10s"
retry = { attempts = 3, backoff = "1s", max_backoff = "2s" }
on_error = "port"

[sources.questions]
type = "lines"
path = "in/questions.jsonl"
fields = ["input", "messages"]
unmatched = "filter"

[workers.main]
type = "remote"
fallback = "deep"

[workers.spare]
type = "remote"

[workers.deep]
type = "remote"

[logging]
level = "debug"
format = "json"
"""


def test_a_whole_file_becomes_a_plan() -> None:
    """Every key of the engine arrives, in seconds and bytes."""
    plan = plan_of(FILE, path=Path("some/file.toml"))
    assert plan.warnings == ()
    assert (plan.name, plan.path, plan.max_in_flight, plan.drain_timeout_s) == (
        "whole",
        Path("some/file.toml"),
        1024,
        60.0,
    )
    assert plan.logging == LoggingPlan("debug", "json")
    assert list(plan.workers) == ["deep", "main", "spare"]
    assert {name: (one.cls, one.durable) for name, one in plan.transports.items()} == {"memory": (toys.Memory, False)}
    assert plan.edges == (
        EdgePlan("late", "answers", capacity=8, max_bytes=1024, max_wait_s=2.0),
        EdgePlan("questions", "late", when=Expression("input"), when_full="drop_lowest"),
        EdgePlan("late", "errors", port="error", block_timeout_s=5.0),
    )


def test_a_node_holds_what_its_plugin_declares() -> None:
    """Options, fields, workers in the order of the file and once each."""
    plan = plan_of(FILE, path=Path("some/file.toml"))
    late, questions = plan.nodes["late"], plan.nodes["questions"]
    assert (late.kind, late.type, late.cls, late.concurrency, late.timeout_s) == ("stage", "ask", toys.Ask, 3, 10.0)
    assert late.retry == RetryPlan(3, 1.0, 2.0)
    assert (late.on_error, late.fan_out, late.unmatched) == ("port", "all", "fail")
    assert late.workers == ("main", "spare")
    assert late.reads_any == (frozenset({"prompt", "messages"}),)
    assert late.writes == frozenset({"completion"})
    assert questions.unmatched == "filter"
    assert questions.options.path == Path("some/in/questions.jsonl")
    assert plan.nodes["answers"].reads == frozenset({"completion"})
    assert plan.nodes["answers"].type == "toys:show"


def test_nodes_come_in_an_order_that_leads_forward() -> None:
    """Whatever the order of the file is."""
    order = list(plan_of(FILE).nodes)
    assert order.index("questions") < order.index("late") < min(order.index("answers"), order.index("errors"))


def test_concurrency_defaults_to_that_of_the_plugin() -> None:
    """Eight for this stage."""
    assert plan_of(FILE.replace("concurrency = 3\n", "")).nodes["late"].concurrency == 8


def test_a_pipeline_is_named_after_its_file() -> None:
    """Text from nowhere is just a pipeline."""
    file = FILE.replace('name = "whole"\n', "")
    assert plan_of(file, path=Path("some/file.toml")).name == "file"
    assert plan_of(file).name == "pipeline"


def test_a_file_is_compiled_from_its_place(tmp_path: Path) -> None:
    """Its paths are relative to it."""
    (tmp_path / "p.toml").write_text(FILE)
    plan = compile_file(str(tmp_path / "p.toml"), ["pipeline.name=other"], toys.toys())
    assert plan.path == tmp_path / "p.toml"
    assert plan.nodes["questions"].options.path == tmp_path / "in/questions.jsonl"
    assert plan.name == "other"


def test_a_missing_file_is_a_diagnostic(tmp_path: Path) -> None:
    """Like anything else that is wrong with a file."""
    with pytest.raises(ConfigError) as caught:
        compile_file(tmp_path / "none.toml")
    assert [d.code for d in caught.value.diagnostics] == ["unreadable-file"]


def test_every_mistake_comes_at_once() -> None:
    """Errors and warnings of all parts of the file, in its order."""
    wrong = (
        FILE.replace('"1min"', '"1m"')
        .replace('to = "late", when', 'to = "lat", when')
        .replace('worker = "main"', 'worker = "mian"\ntopk = 3')
        .replace('type = "toys:show"', 'type = "shw"')
        .replace("[logging]", "[loging]")
    )
    assert [d.code for d in findings(wrong)] == [
        "wrong-unit",
        "unknown-node",
        "unknown-type",
        "unknown-key",
        "unknown-table",
    ]


def test_warnings_come_with_errors() -> None:
    """A warning is not lost because there is an error too."""
    file = chain('type = "fill"\ntemplat = "x"', more='[workers.w]\ntype = "remote"\napi_key = "sk"\n')
    assert sorted(codes(file)) == ["literal-secret", "missing-option", "unknown-key"]


def test_a_lost_reference_is_told_once() -> None:
    """That its value is no worker, no type and no number follows from it."""
    file = FILE.replace('worker = "main"', 'worker = "${env:W}"').replace("concurrency = 3", 'concurrency = "${env:N}"')
    file = file.replace('type = "toys:show"', 'type = "${env:T}"').replace('to = "late", when', 'to = "${env:L}", when')
    assert codes(file) == ["unset-variable"] * 4


def test_a_reference_can_be_anything() -> None:
    """A type, a worker, a node of an edge, a number."""
    file = FILE.replace('worker = "main"', 'worker = "${env:W}"').replace("concurrency = 3", 'concurrency = "${env:N}"')
    file = file.replace('type = "toys:show"', 'type = "${env:T}"').replace('to = "late", when', 'to = "${env:L}", when')
    plan = plan_of(file, W="spare", N="5", T="show", L="late")
    assert (plan.nodes["late"].concurrency, plan.nodes["late"].workers) == (5, ("spare", "main"))
    assert plan.nodes["answers"].cls is toys.Show


@pytest.mark.parametrize(
    ("override", "place"),
    [
        ("stages.late.concurrency=0", "--set stages.late.concurrency=0"),
        ("pipeline.edges.0.to=nowhere", "--set pipeline.edges.0.to=nowhere"),
        ("stages.late.typ=ask", "--set stages.late.typ=ask"),
        ("stages.late={ type = 'ask' }", "--set stages.late={ type = 'ask' }"),
    ],
)
def test_a_mistake_in_an_override_points_to_it(override: str, place: str) -> None:
    """The line of the file is not at fault."""
    found = findings(FILE, override)
    assert {(d.path, d.line) for d in found if d.severity == "error"} == {(place, None)}


def test_broken_plugins_are_told_with_their_reason() -> None:
    """In whatever way they break their contract."""
    reasons = {
        "gone": "cannot be loaded: ModuleNotFoundError",
        "hasty": "cannot say what it reads and writes: OSError: no network",
        "lost": "cannot say what it reads and writes: TypeError: `reads` gave `'input'`, expected a set of names",
        "greedy": "its option `timeout` is a key of the engine",
    }
    for name, reason in reasons.items():
        (found,) = findings(chain(f'type = "{name}"'))
        assert found.code == "broken-plugin"
        assert reason in found.message


def test_a_validator_that_crashes_is_a_broken_plugin() -> None:
    """It does not take the compiler with it."""
    (found,) = findings(chain('type = "crash"\nx = 1'))
    assert found.message == "stage type `crash` fails on its options: KeyError: 'gone'"


def test_installed_plugins_are_the_default() -> None:
    """Without a registry given, that of the environment is used."""
    with pytest.raises(ConfigError) as caught:
        compile_text(FILE, environ={})
    assert "unknown-type" in {d.code for d in caught.value.diagnostics}


@pytest.mark.parametrize("value", [3, "x", [], [3], {"a": 3}, True, None])
@pytest.mark.parametrize("table", ["pipeline", "defaults", "sources", "stages", "sinks", "workers", "logging", "x"])
def test_any_shape_of_a_table_is_only_a_diagnostic(table: str, value: Any) -> None:
    """The compiler never crashes on a file that is TOML."""
    written = {None: "{}", True: "true"}.get(value) if not isinstance(value, list | dict) else None
    written = written or ("{ a = 3 }" if isinstance(value, dict) else repr(value))
    assert findings(f"{table} = {written}\n")


@pytest.mark.parametrize("key", ["edges", "name", "max_in_flight", "drain_timeout"])
@pytest.mark.parametrize(
    "value", ["3.5", '"x"', "[]", "[3]", '[["a", "b"]]', "[{}]", "{ a = 1 }", "false", "1979-05-27"]
)
def test_any_shape_of_a_setting_is_only_a_diagnostic(key: str, value: str) -> None:
    """Also one level further down."""
    assert findings(f"[pipeline]\n{key} = {value}\n")


LINES = FILE.splitlines()
VALUES = [
    "3",
    "-1",
    "0.5",
    "true",
    '""',
    '"x"',
    '"late"',
    '"${env:X}"',
    '"${HOME}"',
    "[]",
    "[1]",
    "{}",
    "1979-05-27",
    "{ x = 1 }",
]


@st.composite
def damaged_files(draw: st.DrawFn) -> str:
    """Give the file with lines dropped, repeated or swapped, and values replaced."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        damage = draw(st.sampled_from(["drop", "repeat", "swap", "value"]))
        if damage == "drop":
            del lines[at]
        elif damage == "repeat":
            lines.insert(at, lines[draw(st.integers(0, len(lines) - 1))])
        elif damage == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        else:
            lines[at] = re.sub(r'= (".*?"|\d+)', lambda _: f"= {draw(st.sampled_from(VALUES))}", lines[at], count=1)
    return "\n".join(lines)


@settings(deadline=None)
@given(damaged_files())
def test_a_damaged_file_gives_a_plan_or_diagnostics_with_places(text: str) -> None:
    """The compiler never crashes, and every place lies within the text."""
    lines = text.split("\n")
    for diagnostic in findings(text):
        assert diagnostic.message
        if diagnostic.line is not None:
            assert diagnostic.source_line is not None
            assert 1 <= diagnostic.line <= len(lines)
            assert 1 <= diagnostic.column <= len(lines[diagnostic.line - 1]) + 1
