"""OtlpReceiver: a receiver of traces and metrics over OTLP, by HTTP and by gRPC, that keeps what came."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as traces_grpc


class OtlpReceiver:
    """Serves while its block lasts.

    Attributes:
        traces, metrics: the requests that came, decoded.
        headers: those of the newest request.
    """

    def __init__(self) -> None:
        self.traces: list[Any] = []
        self.metrics: list[Any] = []
        self.headers: dict[str, str] = {}

    def __enter__(self) -> OtlpReceiver:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kind, kept = (
                    (traces.ExportTraceServiceRequest, receiver.traces)
                    if self.path == "/v1/traces"
                    else (metrics.ExportMetricsServiceRequest, receiver.metrics)
                )
                receiver.headers = dict(self.headers)
                kept.append(kind.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()
        self._grpc = grpc.server(ThreadPoolExecutor(2))
        self._serve_grpc()
        self.grpc_port = self._grpc.add_insecure_port("127.0.0.1:0")
        self._grpc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)
        self._grpc.stop(0).wait(5)

    @property
    def url(self) -> str:
        """Where it takes both over HTTP, without a path."""
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def spans(self) -> list[Any]:
        """All spans that came."""
        return [s for r in self.traces for rs in r.resource_spans for ss in rs.scope_spans for s in ss.spans]

    def _serve_grpc(self) -> None:
        receiver = self

        class Traces(traces_grpc.TraceServiceServicer):
            def Export(self, request: Any, context: Any) -> Any:
                receiver.headers = dict(context.invocation_metadata())
                receiver.traces.append(request)
                return traces.ExportTraceServiceResponse()

        class Metrics(metrics_grpc.MetricsServiceServicer):
            def Export(self, request: Any, context: Any) -> Any:
                receiver.headers = dict(context.invocation_metadata())
                receiver.metrics.append(request)
                return metrics.ExportMetricsServiceResponse()

        traces_grpc.add_TraceServiceServicer_to_server(Traces(), self._grpc)
        metrics_grpc.add_MetricsServiceServicer_to_server(Metrics(), self._grpc)


def attributes_of(span: Any) -> dict[str, Any]:
    """Give the attributes of a span, or of a data point, as plain values."""
    return {item.key: _plain(item.value) for item in span.attributes}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(item) for item in value.array_value.values]
    return getattr(value, kind)
