"""Merging: what several processes say of themselves, as if one had said it."""

from __future__ import annotations

import copy

from dagflow.engine.merging import as_left, merge_families, merge_reports
from dagflow.engine.standing import Standing
from dagflow.telemetry.families import Buckets, Family, Point

REPORT = {
    "pipeline": "p",
    "duration_s": 2.0,
    "accepted": 10,
    "outcomes": {"delivered": 7, "failed": 1, "cancelled": 0},
    "in_flight": 2,
    "nodes": {"ask": {"kind": "stage", "busy": 2, "p50_s": 0.5, "p99_s": 0.5, "metrics": {"input_tokens": 3}}},
    "edges": {"a -> b": {"capacity": 5, "offered": 10, "taken": 8, "cancelled": 0, "buffered": 2, "shed_reasons": {}}},
    "sources": {"in": {"ended": True, "progress": 0.5}},
    "workers": {
        "main": {
            "type": "echo",
            "p50_s": None,
            "p99_s": None,
            "first_chunk_p50_s": None,
            "breaker": {"state": "closed", "opened": 1},
            "limits": [{"requests": {"used": 1, "limit": 5}}],
        }
    },
    "errors": [{"node": "ask", "code": "timeout", "count": 1, "record": "r1", "message": "m"}],
    "unfinished": [{"id": "r1", "where": "a"}],
    "dead_letters": {"path": "x.db", "kept": 1, "in_store": 5},
}


def state(latencies=None, **changes):
    """What one process says."""
    return Standing(copy.deepcopy(REPORT) | changes, latencies or {}, [])


def test_reports():
    """Counts are added, quantiles read from all histograms, and what stands for the same is told once."""
    other = state({"nodes/ask": {100: 30}}, duration_s=3.0, sources={"in": {"ended": False, "progress": 1.0}})
    other.report["workers"]["main"]["breaker"]["state"] = "open"
    other.report["edges"]["a -> b"]["shed_reasons"] = {"drop_newest": 4}
    other.report["dead_letters"]["in_store"] = 7
    merged = merge_reports([state({"nodes/ask": {10: 10}}), other])
    assert (merged["accepted"], merged["in_flight"], merged["duration_s"]) == (20, 4, 3.0)
    assert merged["outcomes"] == {"delivered": 14, "failed": 2, "cancelled": 0}
    assert merged["nodes"]["ask"]["metrics"] == {"input_tokens": 6}
    assert merged["nodes"]["ask"]["p50_s"] == merge_reports([state({"nodes/ask": {100: 1}})])["nodes"]["ask"]["p50_s"]
    assert merged["edges"]["a -> b"]["capacity"] == 10
    assert merged["edges"]["a -> b"]["shed_reasons"] == {"drop_newest": 4}
    assert merged["sources"]["in"] == {"ended": False, "progress": 0.75}
    assert merged["workers"]["main"]["breaker"] == {"state": "open", "opened": 2}
    assert merged["workers"]["main"]["limits"] == [{"requests": {"used": 2, "limit": 10}}]
    assert merged["workers"]["main"]["type"] == "echo"
    assert [error["count"] for error in merged["errors"]] == [2]
    assert len(merged["unfinished"]) == 2
    assert merged["dead_letters"] == {"path": "x.db", "kept": 2, "in_store": 7}


def test_one_is_as_it_was():
    """Nothing changes by merging."""
    assert merge_reports([state()]) == REPORT


def test_what_is_left_of_one_that_died():
    """Nothing is in flight there: what a successor tries again is not counted, what nobody does is cancelled."""
    left = as_left(state(), {"delivered": 8, "failed": 1}).report
    assert (left["accepted"], left["in_flight"]) == (9, 0)
    assert left["outcomes"] == {"delivered": 8, "failed": 1, "cancelled": 0}
    assert left["nodes"]["ask"]["busy"] == 0
    edge = left["edges"]["a -> b"]
    assert (edge["buffered"], edge["cancelled"]) == (0, 2)
    assert edge["capacity"] == 0
    assert "limits" not in left["workers"]["main"]
    assert left["workers"]["main"]["breaker"] == {"state": "closed", "opened": 1}
    left = as_left(state(), None).report
    assert (left["accepted"], left["outcomes"]["cancelled"]) == (10, 2)


def test_families_of_one_that_died():
    """What it has counted stays; how it was does not add to how its successor is."""
    gauge = Family("dagflow_edge_capacity", "gauge", "help", "", (Point({"edge": "a"}, 5),))
    counter = Family("dagflow_edge_taken", "counter", "help", "", (Point({"edge": "a"}, 3),))
    assert as_left(Standing(state().report, {}, [gauge, counter]), None).families == [counter]


def test_families():
    """By name and labels: sums, buckets, and the greatest where a sum says nothing."""

    def family(name, kind, *points):
        return Family(name, kind, "help", "", points)

    def readings(depth, up_s, ratio, counts):
        buckets = Buckets((1.0, 2.0), counts, float(sum(counts)))
        return [
            family("dagflow_edge_depth", "gauge", Point({"edge": "a"}, depth), Point({"edge": "b"}, 1)),
            family("dagflow_uptime_seconds", "gauge", Point({}, up_s)),
            family("dagflow_node_saturation_ratio", "gauge", Point({"node": "x"}, ratio)),
            family("dagflow_stage_duration_seconds", "histogram", Point({"node": "x"}, buckets)),
        ]

    more = [family("dagflow_edge_shed", "counter", Point({"edge": "a"}, 3))]
    merged = {
        f.name: f for f in merge_families([readings(2, 5.0, 0.5, (1, 2, 3)), readings(3, 4.0, 1.0, (1, 1, 1)) + more])
    }
    assert [point.value for point in merged["dagflow_edge_depth"].points] == [5, 2]
    assert merged["dagflow_uptime_seconds"].points[0].value == 5.0
    assert merged["dagflow_node_saturation_ratio"].points[0].value == 0.75
    assert merged["dagflow_stage_duration_seconds"].points[0].value == Buckets((1.0, 2.0), (2, 3, 4), 9.0)
    assert merged["dagflow_edge_shed"].points[0].value == 3
