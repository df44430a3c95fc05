"""Exporter `otlp`: metrics to a receiver of OpenTelemetry's protocol, by its own library."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from anyio import to_thread
from pydantic import Field

from dagflow.options import Options, Secret
from dagflow.plugin import Exporter
from dagflow.telemetry.families import Buckets
from dagflow.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagflow.plugin import Context
    from dagflow.telemetry.families import Family, Point


class Otlp(Exporter):
    """Sends cumulative sums, gauges and histograms with explicit bounds, over HTTP or gRPC."""

    class Options(Options):
        endpoint: str = Field(
            "http://127.0.0.1:4318/v1/metrics",
            pattern=r"^https?://\S+$",
            description="where the receiver takes metrics; port 4317 is usual for gRPC",
        )
        protocol: Literal["http", "grpc"] = Field("http", description="how it takes them")
        headers: dict[str, Secret] = Field({}, description="headers of each export; their values are secrets")

    async def open(self, context: Context) -> None:
        await super().open(context)
        self._began_ns = time.time_ns()
        self._exporter = await to_thread.run_sync(self._build)  # importing takes half a second

    async def export(self, families: Sequence[Family]) -> None:
        await to_thread.run_sync(self._send, families, abandon_on_cancel=True)

    async def close(self) -> None:
        exporter, self._exporter = self._exporter, None
        if exporter is not None:
            await to_thread.run_sync(exporter.shutdown, abandon_on_cancel=True)

    _exporter: Any = None

    def _build(self) -> Any:
        headers = {name: value.get_secret_value() for name, value in self.options.headers.items()}
        if self.options.protocol == "grpc":
            from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

            return OTLPMetricExporter(endpoint=self.options.endpoint, headers=headers)
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetricExporter

        return HttpMetricExporter(endpoint=self.options.endpoint, headers=headers)

    def _send(self, families: Sequence[Family]) -> None:
        from opentelemetry.sdk.metrics.export import MetricExportResult

        if self._exporter.export(self._data(families)) is not MetricExportResult.SUCCESS:
            raise OSError(f"`{self.options.endpoint}` did not take them")

    def _data(self, families: Sequence[Family]) -> Any:
        from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        now_ns = time.time_ns()
        metrics = [self._metric(family, now_ns) for family in families]
        scope = ScopeMetrics(InstrumentationScope("dagflow", __version__), metrics, "")
        resource = Resource.create({"service.name": self.context.pipeline, "service.version": __version__})
        return MetricsData([ResourceMetrics(resource, [scope], "")])

    def _metric(self, family: Family, now_ns: int) -> Any:
        from opentelemetry.sdk.metrics.export import AggregationTemporality, Gauge, Histogram, Metric, Sum

        points = [self._point(sample, now_ns) for sample in family.points]
        data: Any
        if family.kind == "gauge":
            data = Gauge(points)
        elif family.kind == "counter":
            data = Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)
        else:
            data = Histogram(points, AggregationTemporality.CUMULATIVE)
        return Metric(family.name, family.help, family.unit or "1", data)

    def _point(self, sample: Point, now_ns: int) -> Any:
        from opentelemetry.sdk.metrics.export import HistogramDataPoint, NumberDataPoint

        value, labels = sample.value, dict(sample.labels)
        if not isinstance(value, Buckets):
            return NumberDataPoint(labels, self._began_ns, now_ns, value)
        # Least and greatest are not kept; the protocol lets them be absent, its library does not.
        least, greatest = float("inf"), float("-inf")
        return HistogramDataPoint(
            labels, self._began_ns, now_ns, value.count, value.total, value.counts, value.bounds, least, greatest
        )
