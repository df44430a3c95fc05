"""The text drawing, whole outputs."""

import pytest

from dagflow.expressions import Expression
from dagflow.graph.plan import EdgePlan, RetryPlan, WorkerPlan
from dagflow.graph.render.text import render_text
from dagflow.plugin import ModelWorker, NoOptions


@pytest.fixture(scope="module")
def chain(build_plan):
    """The classic five stages."""
    return build_plan(
        {
            "questions source jsonl": {},
            "rag stage retrieve": {"concurrency": 4, "timeout_s": 1.0},
            "assemble stage template": {},
            "inference stage inference": {
                "concurrency": 8,
                "timeout_s": 30.0,
                "retry": RetryPlan(3),
                "workers": ("main",),
            },
            "post stage post": {},
            "stream sink stdout": {},
        },
        [
            EdgePlan("questions", "rag"),
            EdgePlan("rag", "assemble"),
            EdgePlan("assemble", "inference", capacity=1024, max_bytes=64 * 1024**2, block_timeout_s=5.0),
            EdgePlan("inference", "post", when_full="drop_oldest", max_wait_s=0.25),
            EdgePlan("post", "stream", via="nats"),
        ],
        name="five-stage",
        workers={"main": WorkerPlan("main", "echo", ModelWorker, NoOptions())},
    )


@pytest.fixture(scope="module")
def routes(build_plan):
    """Two sources, a choice between two workers, a merge, an error port and an audit branch."""
    return build_plan(
        {
            "api source generate": {},
            "batch source jsonl": {},
            "route stage set": {"fan_out": "first", "unmatched": "filter"},
            "large stage inference": {"concurrency": 8, "on_error": "port"},
            "small stage inference": {"concurrency": 8, "on_error": "port"},
            "merge stage post": {},
            "out sink stdout": {},
            "bad sink jsonl": {},
            "audit sink jsonl": {},
        },
        [
            EdgePlan("api", "route"),
            EdgePlan("batch", "route"),
            EdgePlan("route", "large", when=Expression("input | length > 2000 or meta.tier == 'gold'")),
            EdgePlan("route", "small"),
            EdgePlan("route", "audit", best_effort=True),
            EdgePlan("large", "merge"),
            EdgePlan("large", "bad", port="error"),
            EdgePlan("small", "merge"),
            EdgePlan("small", "bad", port="error"),
            EdgePlan("merge", "out"),
        ],
    )


def test_chain(chain):
    """A chain is a straight line, each node and edge with its settings."""
    assert (
        render_text(chain)
        == """\
five-stage: 1 source, 4 stages, 1 sink, 5 edges
max_in_flight 4096, drain_timeout 30s

● questions  source  jsonl
│   --[512 block]--> rag
● rag        stage   retrieve   concurrency 4, timeout 1s
│   --[512 block]--> assemble
● assemble   stage   template   concurrency 1
│   --[1024 64MiB block 5s]--> inference
● inference  stage   inference  concurrency 8, timeout 30s, 3 attempts, worker main
│   --[512 drop_oldest]--> post, max wait 250ms
● post       stage   post       concurrency 1
│   --[512 block]--> stream, via nats
● stream     sink    stdout     concurrency 1

workers: main (echo)
"""
    )


def test_fan_out_and_merge(routes):
    """Branches leave on rails of their own, and edges to one node share its rail."""
    assert (
        render_text(routes)
        == """\
example: 2 sources, 4 stages, 3 sinks, 10 edges
max_in_flight 4096, drain_timeout 30s

●       api    source  generate
│         --[512 block]--> route
│ ●     batch  source  jsonl
├─╯       --[512 block]--> route
●       route  stage   set        concurrency 1, first match only, unmatched: filter
│         --[512 block]--> large, when input | length > 2000 or meta.tier == 'gold'
├─╮       --[512 block]--> small
├─┼─╮     --[512 block]--> audit, best effort
● │ │   large  stage   inference  concurrency 8, on error: port
│ │ │     --[512 block]--> merge
├─┼─┼─╮   error --[512 block]--> bad
│ ● │ │ small  stage   inference  concurrency 8, on error: port
├─┤ │ │   --[512 block]--> merge
│ ╰─┼─┤   error --[512 block]--> bad
●   │ │ merge  stage   post       concurrency 1
│   │ │   --[512 block]--> out
●   │ │ out    sink    stdout     concurrency 1
    │ ● bad    sink    jsonl      concurrency 1
    ●   audit  sink    jsonl      concurrency 1
"""
    )


def test_ascii(routes):
    """Where the stream can't take lines, plain characters draw the same."""
    drawn = render_text(routes, ascii_only=True)
    assert drawn.isascii()
    assert [line[:7] for line in drawn.splitlines()[3:12]] == [
        "*      ",
        "|      ",
        "| *    ",
        "+-'    ",
        "*      ",
        "|      ",
        "+-.    ",
        "+-|-.  ",
        "* | |  ",
    ]


def test_long_line_goes_on_beside_the_rails(routes):
    """What does not fit is broken between words, and the rails pass by."""
    lines = render_text(routes, width=60).splitlines()
    start = next(i for i, line in enumerate(lines) if "--> large" in line)
    assert lines[start : start + 3] == [
        "│         --[512 block]--> large, when input | length > 2000",
        "│             or meta.tier == 'gold'",
        "├─╮       --[512 block]--> small",
    ]


def test_left_turn(build_plan):
    """A branch may leave to the left, where a rail has become free."""
    plan = build_plan(
        {"s source generate": {}, "a stage set": {}, "b stage set": {}, "c sink null": {}, "d sink null": {}},
        [
            EdgePlan("s", "a"),
            EdgePlan("s", "b"),
            EdgePlan("a", "b"),
            EdgePlan("b", "c"),
            EdgePlan("b", "d"),
        ],
    )
    rails = [line[:3] for line in render_text(plan).splitlines()[3:]]
    assert rails == ["●  ", "│  ", "├─╮", "● │", "╰─┤", "  ●", "  │", "╭─┤", "│ ●", "●  "]


def test_two_edges_between_the_same_nodes(build_plan):
    """The main output and a port of one node may lead to the same place."""
    plan = build_plan(
        {"s source generate": {}, "a stage set": {"on_error": "port"}, "k sink null": {}},
        [EdgePlan("s", "a"), EdgePlan("a", "k"), EdgePlan("a", "k", port="error")],
    )
    assert render_text(plan).splitlines()[5:] == [
        "● a  stage   set       concurrency 1, on error: port",
        "│   --[512 block]--> k",
        "│   error --[512 block]--> k",
        "● k  sink    null      concurrency 1",
    ]


def test_too_many_rails_are_left_out(build_plan):
    """Rails give way to words where they would take most of the width."""
    names = [f"n{i}" for i in range(40)]
    plan = build_plan(
        {"s source generate": {}} | {f"{name} sink null": {} for name in names},
        [EdgePlan("s", name) for name in names],
    )
    lines = render_text(plan, width=80).splitlines()
    assert lines[3:5] == ["s    source  generate", "  --[512 block]--> n0"]
    assert lines[-1] == "n39  sink    null      concurrency 1"
