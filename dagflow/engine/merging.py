"""Merging: what several processes say of themselves, as if one had said it.

Counts are added up; so are depths and capacities, since each process has its part. Quantiles are read from the
histograms of all. What no sum can tell is the greatest: ages, durations.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

from dagflow.engine.standing import Standing
from dagflow.telemetry.families import Buckets, Family, Point
from dagflow.telemetry.instruments import quantile_s

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


_GREATEST: Final = frozenset({"duration_s", "oldest_s", "in_store", "uptime_s"})
_MEAN: Final = frozenset({"progress"})
_GREATEST_FAMILIES: Final = frozenset(
    {
        "dagflow_build_info",
        "dagflow_uptime_seconds",
        "dagflow_edge_oldest_age_seconds",
        "dagflow_worker_breaker_state",
        "dagflow_dead_letters_in_store",
    }
)
_MEAN_FAMILIES: Final = frozenset({"dagflow_node_saturation_ratio"})
_WORST: Final = ("open", "half-open")  # states of breakers
_QUANTILES: Final = {"p50_s": 0.50, "p99_s": 0.99}


def merge_latencies(standings: Iterable[Standing]) -> dict[str, Counter[int]]:
    """Give the histograms of several processes, by the places of their quantiles in the report."""
    merged: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for standing in standings:
        for place, buckets in standing.latencies.items():
            merged[place].update(buckets)
    return merged


def merge_reports(standings: Sequence[Standing]) -> dict[str, Any]:
    """Give the report of several processes, of at least one; how the run ended is not theirs to know."""
    merged = _merged("", [standing.report for standing in standings])
    merged["errors"] = _merge_errors([standing.report["errors"] for standing in standings])
    for place, total in merge_latencies(standings).items():
        table, name, *first_chunk = place.split("/")
        row = merged[table][name]
        if first_chunk:
            row["first_chunk_p50_s"] = quantile_s(total, 0.50)
        else:
            row.update({key: quantile_s(total, share) for key, share in _QUANTILES.items()})
    return merged


def merge_families(readings: Sequence[Sequence[Family]]) -> list[Family]:
    """Give the metrics of several processes, in the order of the first."""
    found: dict[str, list[Family]] = {}
    for family in (family for families in readings for family in families):
        found.setdefault(family.name, []).append(family)
    return [_merge_family(families) for families in found.values()]


def merge_standings(standings: Sequence[Standing]) -> Standing:
    """Give the standing of several engines, of at least one."""
    latencies = {place: dict(buckets) for place, buckets in merge_latencies(standings).items()}
    families = merge_families([standing.families for standing in standings])
    return Standing(merge_reports(standings), latencies, families)


def cancelled_standing(count: int) -> Standing:
    """Give the standing of nobody, in whose hands so many records were cancelled."""
    counted = {"dagflow_records_accepted": {}, "dagflow_records": {"outcome": "cancelled"}}
    families = [Family(name, "counter", "", "", (Point(labels, count),)) for name, labels in counted.items()]
    return Standing({"accepted": count, "outcomes": {"cancelled": count}, "errors": []}, {}, families)


def as_left(standing: Standing, outcomes: Mapping[str, int] | None) -> Standing:
    """Give what is left of a process that died: nothing is in flight there any more.

    Args:
        outcomes: how its records had ended by then, where the parent knows; the others are tried again elsewhere.
            None where nobody does: then those that were in flight count as cancelled.
    """
    report = standing.report
    if outcomes is None:
        report["outcomes"]["cancelled"] += report["in_flight"]
    else:
        report["outcomes"] |= outcomes
        report["accepted"] = sum(report["outcomes"].values())
    report["in_flight"] = 0
    if "checkpoint" in report:
        report["checkpoint"]["skipped"] = 0  # a successor reads the same input again
    for node in report["nodes"].values():
        node["busy"] = 0
    for edge in report["edges"].values():
        edge["cancelled"] += edge["buffered"]
        edge["buffered"] = 0
    return as_past(standing)


def as_past(standing: Standing) -> Standing:
    """Give what is to be told of an engine that is gone: what it has counted, not how it was."""
    for edge in standing.report["edges"].values():
        edge["capacity"] = 0
    for node in standing.report["nodes"].values():
        node.pop("slots", None)
    for worker in standing.report["workers"].values():
        worker |= {"busy": 0, "waiting": 0}
        for name in ("concurrency", "adaptive", "limits"):
            worker.pop(name, None)
        if "breaker" in worker:
            worker["breaker"]["state"] = "closed"
        if "budget" in worker:
            worker["budget"] |= {"warn": None, "reject": None}
    standing.families = [family for family in standing.families if family.kind != "gauge"]
    return standing


def _merged(name: str, values: Sequence[Any]) -> Any:
    values = [value for value in values if value is not None]
    if not values:
        return None
    first = values[0]
    if isinstance(first, dict):
        keys = dict.fromkeys(key for value in values for key in value)
        return {key: _merged(key, [value[key] for value in values if key in value]) for key in keys}
    if isinstance(first, list):
        return _merge_lists(values)
    if isinstance(first, bool):
        return all(values) if name == "ended" else any(values)
    if isinstance(first, int | float):
        return _merge_numbers(name in _GREATEST, name in _MEAN, values)
    return next((state for state in _WORST if state in values), first)


def _merge_lists(values: Sequence[list[Any]]) -> list[Any]:
    """Merge lists whose elements stand for the same, element by element; put others behind each other."""
    first = values[0]
    if first and len({len(value) for value in values}) == 1 and all(isinstance(one, dict) for one in first):
        if "id" not in first[0]:
            return [_merged("", elements) for elements in zip(*values, strict=True)]
    elif all(value == first for value in values):
        return first
    return [element for value in values for element in value]


def _merge_errors(lists: Iterable[Iterable[dict[str, Any]]]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for error in (error for errors in lists for error in errors):
        known = found.setdefault((error["node"], error["code"]), {**error, "count": 0})
        known["count"] += error["count"]
    return sorted(found.values(), key=lambda error: -error["count"])


def _merge_numbers(greatest: bool, mean: bool, values: Sequence[float]) -> float:
    if greatest:
        return max(values)
    return sum(values) / len(values) if mean else sum(values)


def _merge_family(families: Sequence[Family]) -> Family:
    first = families[0]
    return Family(first.name, first.kind, first.help, first.unit, tuple(_merge_points(first.name, families)))


def _merge_points(name: str, families: Iterable[Family]) -> Iterator[Point]:
    found: dict[frozenset[tuple[str, str]], list[Point]] = {}
    for point in (point for family in families for point in family.points):
        found.setdefault(frozenset(point.labels.items()), []).append(point)
    greatest, mean = name in _GREATEST_FAMILIES, name in _MEAN_FAMILIES
    for points in found.values():
        values: list[Any] = [point.value for point in points]
        if isinstance(values[0], Buckets):
            yield Point(points[0].labels, _merge_buckets(values))
        else:
            yield Point(points[0].labels, _merge_numbers(greatest, mean, values))


def _merge_buckets(values: Sequence[Buckets]) -> Buckets:
    counts = tuple(map(sum, zip(*(value.counts for value in values), strict=True)))
    return Buckets(values[0].bounds, counts, sum(value.total for value in values))
