"""Dividing: the parts of all processes come to what the file says, and shares leave nothing out."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagflow.compile import compile_text
from dagflow.processes.dividing import divide, far_sinks, far_sources, part_of
from dagflow.processes.far_sink import FarSink
from dagflow.shares import Share

FILE = """
[pipeline]
max_in_flight = 1001
edges = [{ from = "in", to = "ask", capacity = 65, max_bytes = "1MiB" }, { from = "ask", to = "out" }]
[sources.in]
type = "http"
max_waiting = 7
[stages.ask]
type = "inference"
worker = "main"
concurrency = 9
[sinks.out]
type = "reply"
[workers.main]
type = "echo"
max_in_flight = 5
limits = { requests = "61/min", tokens = "1001 tokens/min" }
budget = { warn = 1, reject = 3.0 }
prices = { input = 1.0 }
adaptive = { min = 3, max = 17 }
[auth]
tokens = [{ token = "0123456789abcdef0123", tenant = "a", requests = "11/s" }]
"""


@given(amount=st.integers(1, 10_000), count=st.integers(1, 64))
def test_parts_sum_up(amount, count):
    """To the whole, or to one for each."""
    parts = [part_of(amount, Share(index, count)) for index in range(count)]
    assert sum(parts) == max(amount, count)
    assert max(parts) - min(parts) <= 1


def test_bounds_are_shared_out():
    """Those of the pipeline, its edges, stages, workers and tokens."""
    plan = compile_text(FILE)
    parts = [divide(plan, Share(index, 3), {}, {}) for index in range(3)]

    def total(read):
        return sum(map(read, parts))

    assert total(lambda part: part.max_in_flight) == 1001
    assert total(lambda part: part.edges[0].capacity) == 65
    assert total(lambda part: part.edges[0].max_bytes) == 1024**2
    assert total(lambda part: part.nodes["ask"].concurrency) == 9
    assert total(lambda part: part.nodes["in"].options.max_waiting) == 7
    assert total(lambda part: part.nodes["in"].options.max_connections) == 1024
    assert total(lambda part: part.workers["main"].guards.max_in_flight) == 5
    assert total(lambda part: part.workers["main"].guards.limits[0].requests[0]) == 61
    assert total(lambda part: part.workers["main"].guards.limits[0].tokens[0]) == 1001
    assert total(lambda part: part.workers["main"].guards.budget.reject) == pytest.approx(3.0)
    assert total(lambda part: part.workers["main"].guards.adaptive.max) == 17
    assert total(lambda part: part.auth.tokens[0].requests[0]) == 11
    assert plan.edges[0].capacity == 65  # the plan itself is as it was


def test_what_nobody_bounds_stays_so():
    """A door without a queue, a worker without limits."""
    text = (
        FILE.replace("max_waiting = 7", "max_waiting = 0").split("[workers.main]")[0]
        + '[workers.main]\ntype = "echo"\n'
    )
    part = divide(compile_text(text), Share(1, 2), {"in": 8123}, {})
    assert part.nodes["in"].options.max_waiting == 0
    assert part.workers["main"].guards.max_in_flight is None
    assert part.nodes["in"].options.listen.port == 8123


def test_what_lives_in_the_parent():
    """A sink that meets in one file, standard input, and a port where sessions must stay together."""
    plan = compile_text(FILE)
    assert (far_sources(plan), far_sinks(plan)) == ([], [])
    sessions = compile_text(FILE.replace("concurrency = 9", 'concurrency = 9\naffinity = "session"'))
    assert far_sources(sessions) == ["in"]
    batch = """
[pipeline]
edges = [{ from = "in", to = "out" }]
[sources.in]
type = "jsonl"
path = "PATH"
[sinks.out]
type = "stdout"
"""
    assert far_sources(compile_text(batch.replace("PATH", "in.jsonl"))) == []
    plan = compile_text(batch.replace("PATH", "-"))
    assert (far_sources(plan), far_sinks(plan)) == (["in"], ["out"])
    part = divide(plan, Share(0, 2), {}, {"out": partial(FarSink, cls=plan.nodes["out"].cls, desk=None)})
    assert isinstance(part.nodes["out"].build(), FarSink)
    assert part.nodes["out"].concurrency > 1


@given(keys=st.lists(st.binary(min_size=16, max_size=20), max_size=50), count=st.integers(1, 8))
def test_shares_leave_nothing_out(keys, count):
    """Each record is taken by exactly one, by its key or by its session."""
    for by_session in (False, True):
        shares = [Share(index, count, by_session) for index in range(count)]
        for number, key in enumerate(keys):
            assert sum(share.takes(key, f"s{number % 7}") for share in shares) == 1
            if by_session:
                session = f"s{number % 7}"
                assert [s.takes(key, session) for s in shares] == [s.takes(b"0" * 16, session) for s in shares]
