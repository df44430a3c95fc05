"""Mermaid, DOT and JSON, whole outputs, and labels that try to break out."""

import msgspec
import pytest

from dagflow.expressions import Expression
from dagflow.graph.plan import EdgePlan, WorkerPlan
from dagflow.graph.render.dot import render_dot
from dagflow.graph.render.json import render_json
from dagflow.graph.render.mermaid import render_mermaid
from dagflow.plugin import ModelWorker, NoOptions


@pytest.fixture(scope="module")
def plan(build_plan):
    """A node that is called like a word of the formats, and a condition full of quotes."""
    return build_plan(
        {
            "in source jsonl": {"writes": frozenset({"input", "n"})},
            "end stage set": {"timeout_s": 1.5, "on_error": "port", "ports": frozenset({"error"})},
            "out sink stdout": {},
        },
        [
            EdgePlan("in", "end", when=Expression("input != \"<b>\" or n == '\\\\|'")),
            EdgePlan("end", "out", port="error", best_effort=True),
        ],
        workers={"main": WorkerPlan("main", "echo", ModelWorker, NoOptions())},
        effective={"sources": {"in": {"type": "jsonl", "path": "${env:INPUT}"}}},
    )


def test_mermaid(plan):
    """Ids are our own, and no label can end its quotes or begin a tag."""
    assert (
        render_mermaid(plan)
        == """\
flowchart LR
  n0(["in<br/>source jsonl"])
  n1["end<br/>stage set<br/>concurrency 1<br/>timeout 1500ms<br/>on error: port"]
  n2[("out<br/>sink stdout<br/>concurrency 1")]
  n0 -->|"512 block<br/>when input != #34;#60;b#62;#34; or n == '#92;#92;#124;'"| n1
  n1 -.->|"error<br/>512 block<br/>best effort"| n2
"""
    )


def test_dot(plan):
    """Quotes and backslashes of a label are escaped."""
    assert (
        render_dot(plan)
        == r"""digraph "example" {
  rankdir=LR;
  "in" [shape=oval, label="in\nsource jsonl"];
  "end" [shape=box, label="end\nstage set\nconcurrency 1\ntimeout 1500ms\non error: port"];
  "out" [shape=cylinder, label="out\nsink stdout\nconcurrency 1"];
  "in" -> "end" [label="512 block\nwhen input != \"<b>\" or n == '\\\\|'"];
  "end" -> "out" [label="512 block\nbest effort", taillabel="error", style=dashed];
}
"""
    )


def test_json(plan):
    """Every setting is there, and references are as in the file."""
    described = msgspec.json.decode(render_json(plan))
    assert {key: described[key] for key in ("pipeline", "max_in_flight", "drain_timeout_s", "workers")} == {
        "pipeline": "example",
        "max_in_flight": 4096,
        "drain_timeout_s": 30.0,
        "workers": [{"name": "main", "type": "echo", "settings": {}}],
    }
    assert described["nodes"][0] == {
        "name": "in",
        "kind": "source",
        "type": "jsonl",
        "layer": 0,
        "position": 0,
        "concurrency": 1,
        "timeout_s": None,
        "retry": {"attempts": 1, "backoff_s": 0.2, "max_backoff_s": 5.0, "budget": None},
        "on_error": "dead_letter",
        "fan_out": "all",
        "unmatched": "fail",
        "affinity": None,
        "join": None,
        "reads": [],
        "reads_any": [],
        "writes": ["input", "n"],
        "ports": [],
        "workers": [],
        "live": False,
        "settings": {"type": "jsonl", "path": "${env:INPUT}"},
    }
    assert described["edges"][1] == {
        "name": "end.error -> out",
        "source": "end",
        "port": "error",
        "target": "out",
        "capacity": 512,
        "max_bytes": None,
        "when_full": "block",
        "spill": None,
        "block_timeout_s": None,
        "max_wait_s": None,
        "order": "fifo",
        "ageing_s": 10.0,
        "dead_letter": False,
        "when": None,
        "best_effort": True,
        "via": "memory",
    }
    assert described["edges"][0]["when"] == plan.edges[0].when.source
