"""Families as the text that Prometheus reads."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from dagflow.telemetry.families import Buckets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dagflow.telemetry.families import Family

_UNITS: Final = {"s": "seconds", "{token}": "tokens"}


def render_prometheus(
    families: Iterable[Family], accept: str = "", labels: Mapping[str, str] | None = None
) -> tuple[bytes, str]:
    """Give the text and its content type: OpenMetrics where `accept` asks for it, else the older format.

    Args:
        labels: put on each sample.
    """
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(families, labels or {}))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def prometheus_name(family: Family) -> str:
    """Give the name of a family in Prometheus, without `_total`: units stand at its end."""
    name = family.name.replace(".", "_")
    suffix = _UNITS.get(family.unit, "")
    return name if not suffix or name.endswith(f"_{suffix}") else f"{name}_{suffix}"


class _Collector:
    """Hands families to the library."""

    def __init__(self, families: Iterable[Family], labels: Mapping[str, str]) -> None:
        self._families, self._labels = families, labels

    def collect(self) -> Iterable[Any]:
        """Give them in its form."""
        from prometheus_client.metrics_core import Metric

        for family in self._families:
            name = prometheus_name(family)
            metric = Metric(name, family.help, family.kind)
            for sample in family.points:
                labels = {**self._labels, **{key.replace(".", "_"): value for key, value in sample.labels.items()}}
                if isinstance(sample.value, Buckets):
                    _add_histogram(metric, name, labels, sample.value)
                else:
                    metric.add_sample(f"{name}_total" if family.kind == "counter" else name, labels, sample.value)
            yield metric


def _add_histogram(metric: Any, name: str, labels: dict[str, str], buckets: Buckets) -> None:
    from prometheus_client.utils import floatToGoString

    bounds = [*map(floatToGoString, buckets.bounds), "+Inf"]
    for bound, seen in zip(bounds, accumulate(buckets.counts), strict=True):
        metric.add_sample(f"{name}_bucket", {**labels, "le": bound}, seen)
    metric.add_sample(f"{name}_count", labels, buckets.count)
    metric.add_sample(f"{name}_sum", labels, buckets.total)
