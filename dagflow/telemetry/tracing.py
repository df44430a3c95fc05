"""Tracing: spans of records, sent to an OTLP receiver by the libraries of OpenTelemetry.

While a record is under way only its trail is noted. Spans are made when it has settled, and only of those that are
kept: a share of all, and each that failed or was slow. A span by the SDK's own way costs 12 us, which all records
would pay; so the finished ones are built from the trail.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from dagflow.record import GOOD
from dagflow.telemetry.genai import VERSION, call_attributes, span_name
from dagflow.traceparent import begin_trace, new_span_id
from dagflow.trail import Stay, Trail
from dagflow.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dagflow.config.tables import TracingTable
    from dagflow.inference.call import Call
    from dagflow.inference.guarded import GuardedWorker
    from dagflow.record import Outcome, Record, Ticket


class Tracer:
    """Makes spans of the records of one run.

    Args:
        table: `[tracing]`.
        pipeline: its name.
        clock: the pipeline's, in seconds.
        workers: by name; spans of calls tell what is known of them.
    """

    def __init__(
        self, table: TracingTable, pipeline: str, clock: Callable[[], float], workers: Mapping[str, GuardedWorker]
    ) -> None:
        self._table = table
        self._pipeline = pipeline
        self._workers = workers
        now_ns = time.time_ns()
        # What is noted are points of other clocks than spans have.
        self._stays_ahead_ns = now_ns - time.perf_counter_ns()
        self._calls_ahead_ns = now_ns - round(clock() * 1e9)
        self._processor = _build_processor(table)
        self._resource, self._scope = _describe_program(pipeline)

    def begin(self, record: Record) -> Trail:
        """Begin the trail of a record that is accepted."""
        return Trail(begin_trace(record.meta.get("traceparent"), self._table.sample))

    def end(self, ticket: Ticket, outcome: Outcome, serves: bool) -> None:
        """Send the spans of a record that has settled, if they are kept; `serves`: whether a caller waited for it."""
        trail = ticket.trail
        ended_ns = time.perf_counter_ns()
        slow = (ended_ns - trail.accepted_ns) / 1e9 > self._table.slow
        if trail.trace.sampled or slow or outcome not in GOOD:
            for span in self._spans(ticket, outcome, serves, ended_ns):
                self._processor.on_end(span)

    def close(self) -> None:
        """Send what is left; waits for that. Not for the event loop's thread."""
        self._processor.shutdown()

    def _spans(self, ticket: Ticket, outcome: Outcome, serves: bool, ended_ns: int) -> list[Any]:
        trail, record = ticket.trail, ticket.record
        ids = {stay: new_span_id() for stay in trail.stays}
        spans = [self._span_of_stay(trail, stay, id) for stay, id in ids.items()]
        for name, call in trail.calls:
            around = next((stay for stay in trail.stays if stay.node == call.node and self._holds(stay, call)), None)
            parent = trail.trace.span_id if around is None else ids[around]
            spans.append(self._span_of_call(trail, name, call, parent))
        attributes = {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": self._pipeline,
            "dagflow.record.id": record.id,
            "dagflow.outcome": outcome.value,
        }
        if record.session is not None:
            attributes["gen_ai.conversation.id"] = record.session
        error = None if outcome in GOOD else ticket.error.code if ticket.error is not None else outcome.value
        times = (trail.accepted_ns + self._stays_ahead_ns, ended_ns + self._stays_ahead_ns)
        kind = "SERVER" if serves else "INTERNAL"
        name = f"invoke_workflow {self._pipeline}"
        root = self._span(trail, name, trail.trace.span_id, trail.trace.parent_id, times, attributes, kind, error)
        return [root, *spans]

    def _holds(self, stay: Stay, call: Call) -> bool:
        began_ns = round(call.arrived_s * 1e9) + self._calls_ahead_ns - self._stays_ahead_ns
        return stay.began_ns <= began_ns + 1_000_000 and began_ns <= stay.ended_ns

    def _span_of_stay(self, trail: Trail, stay: Stay, id: int) -> Any:
        times = (stay.began_ns + self._stays_ahead_ns, stay.ended_ns + self._stays_ahead_ns)
        attributes = {"dagflow.node": stay.node}
        return self._span(trail, stay.node, id, trail.trace.span_id, times, attributes, "INTERNAL", stay.error)

    def _span_of_call(self, trail: Trail, worker: str, call: Call, parent: int) -> Any:
        attributes = call_attributes(self._workers[worker], call)
        ended_s = call.ended_s or call.arrived_s  # what was cut off with its record has not ended yet
        times = tuple(round(at_s * 1e9) + self._calls_ahead_ns for at_s in (call.arrived_s, ended_s))
        id = call.span_id or new_span_id()
        return self._span(trail, span_name(attributes), id, parent, times, attributes, "CLIENT", call.error)

    def _span(
        self,
        trail: Trail,
        name: str,
        id: int,
        parent: int | None,
        times: tuple[int, ...],
        attributes: dict[str, Any],
        kind: str,
        error: str | None,
    ) -> Any:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        def context(span_id: int, remote: bool) -> SpanContext:
            return SpanContext(trail.trace.trace_id, span_id, remote, TraceFlags(TraceFlags.SAMPLED))

        if error is not None:
            attributes["error.type"] = error
        return ReadableSpan(
            name,
            context=context(id, False),
            parent=None if parent is None else context(parent, parent == trail.trace.parent_id),
            resource=self._resource,
            attributes=attributes,
            kind=SpanKind[kind],
            status=Status(StatusCode.UNSET if error is None else StatusCode.ERROR),
            start_time=times[0],
            end_time=max(times),
            instrumentation_scope=self._scope,
        )


def _build_processor(table: TracingTable) -> Any:
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    headers = {name: value.get_secret_value() for name, value in table.headers.items()}
    given = {"endpoint": table.endpoint, "headers": headers, "timeout": table.timeout}
    if table.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return BatchSpanProcessor(OTLPSpanExporter(**given))
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter

    return BatchSpanProcessor(HttpSpanExporter(**given))


def _describe_program(pipeline: str) -> tuple[Any, Any]:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    resource = Resource.create({"service.name": pipeline, "service.version": __version__})
    return resource, InstrumentationScope("dagflow", __version__, VERSION)
