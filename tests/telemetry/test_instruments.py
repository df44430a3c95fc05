"""Instruments: nothing is missed, and quantiles are as exact as they claim."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dagflow.telemetry.instruments import Histogram, Metrics


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=600), st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))
def test_quantiles_are_within_three_percent(durations, share):
    """A quantile lies within 3 %, or 16 ns, of a value with that rank; counts and sums are exact."""
    histogram = Histogram()
    for ns in durations:
        histogram.observe(ns)
    assert histogram.count == len(durations)
    assert histogram.total_ns == sum(durations)
    rank = max(round(share * len(durations) + 0.4999999), 1)
    exact = sorted(durations)[min(rank, len(durations)) - 1]
    assert abs(histogram.quantile_s(share) * 1e9 - exact) <= max(0.035 * exact, 16)


def test_no_observations_no_quantile():
    """An unused histogram has no quantile, rather than a zero."""
    assert Histogram().quantile_s(0.5) is None


def test_metrics_give_the_same_instrument_for_a_name():
    """Two who ask for one name count together."""
    metrics = Metrics()
    metrics.counter("a").add()
    metrics.counter("a").add(2)
    assert metrics.counter("a").value == 3
    assert metrics.histogram("h") is metrics.histogram("h")
