"""Readings: the books of a run as metric families, read at one moment. The report is made of the same books.

Labels are bounded by the file: names of edges, nodes and workers, outcomes, kinds of errors. Nothing that a caller
sends is a label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagflow.channel.reasons import UNREADABLE
from dagflow.record import GOOD
from dagflow.telemetry.catalog import CATALOG
from dagflow.telemetry.families import Family, Point
from dagflow.telemetry.genai import provider_of, server_of
from dagflow.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.channel.channel import Channel
    from dagflow.engine.book import Book
    from dagflow.engine.node_runner import NodeRunner
    from dagflow.engine.source_runner import SourceRunner
    from dagflow.engine.wiring import Wiring
    from dagflow.inference.guarded import GuardedWorker
    from dagflow.telemetry.families import Buckets
    from dagflow.telemetry.instruments import Metrics

    Reading = tuple[str, dict[str, str], float | Buckets]

_STATES = ("closed", "open", "half-open")


def read_families(wiring: Wiring, pipeline: str, up_s: float, clock_s: float) -> list[Family]:
    """Read all books.

    Args:
        up_s: how long the run has lasted, in seconds.
        clock_s: the pipeline's clock.
    """
    found: dict[str, list[Point]] = {name: [] for name in CATALOG}
    for name, labels, value in _readings(wiring, pipeline, up_s, clock_s):
        found[name].append(Point(labels, value))
    return [
        Family(name, entry.kind, entry.help, entry.unit, tuple(found[name]))
        for name, entry in CATALOG.items()
        if found[name]
    ]


def _of_mesh(book: Book) -> Iterator[Reading]:
    yield "dagflow_records_handed_off", {}, book.handed_off
    yield "dagflow_records_given_back", {}, book.given_back
    yield "dagflow_records_forked", {}, book.forked


def _readings(wiring: Wiring, pipeline: str, up_s: float, clock_s: float) -> Iterator[Reading]:
    yield "dagflow_build_info", {"version": __version__, "pipeline": pipeline}, 1
    yield "dagflow_uptime_seconds", {}, up_s
    yield "dagflow_records_accepted", {}, wiring.book.accepted
    yield "dagflow_records_taken_over", {}, wiring.book.taken_over
    if wiring.book.handed_off or any(runner.plugin.takes_over for runner in wiring.sources.values()):
        yield from _of_mesh(wiring.book)
    yield "dagflow_records_in_flight", {}, len(wiring.book.live)
    yield "dagflow_records_in_flight_limit", {}, wiring.book.max_in_flight
    for outcome, count in wiring.book.outcomes.items():
        yield "dagflow_records", {"outcome": outcome.value}, count
    for name, channel in wiring.channels.items():
        yield from _of_edge(name, channel, clock_s)
    for source in wiring.sources.values():
        yield from _of_source(source)
        if wiring.workers:
            yield from _of_workflow(source, pipeline)
    for node in wiring.nodes.values():
        yield from _of_node(node)
    for name, metrics in wiring.metrics.items():
        yield from _of_plugin(name, metrics)
    for worker in wiring.own_workers.values():
        yield from _of_worker(worker)
        yield from _of_calls(worker)
    for name, exporter in wiring.exporters.items():
        yield "dagflow_exports_failed", {"exporter": name}, exporter.failed
    if wiring.letters is not None:
        told = wiring.letters.as_dict()
        yield "dagflow_dead_letters_kept", {}, told["kept"]
        yield "dagflow_dead_letters_in_store", {}, wiring.letters.in_store


def _of_edge(name: str, channel: Channel, clock_s: float) -> Iterator[Reading]:
    books, edge = channel.statistics(), {"edge": name}
    yield "dagflow_edge_depth", edge, books.buffered
    yield "dagflow_edge_capacity", edge, books.capacity
    yield "dagflow_edge_waiting_senders", edge, books.waiting_senders
    if channel.marks:
        age_s = 0.0 if books.oldest_at is None else max(clock_s - books.oldest_at, 0.0)
        yield "dagflow_edge_oldest_age_seconds", edge, age_s
    yield "dagflow_edge_offered", edge, books.offered
    yield "dagflow_edge_taken", edge, books.taken
    yield "dagflow_edge_expired", edge, books.expired
    yield "dagflow_edge_cancelled", edge, books.cancelled
    if channel.edge.spill is not None:
        yield "dagflow_edge_spilled", edge, channel.overflow.spilled
        yield "dagflow_edge_spill_bytes", edge, channel.overflow.spool.size
    policy = channel.edge.when_full
    for reason in dict.fromkeys([*_reasons_of(channel), *books.shed_reasons]):
        yield "dagflow_edge_shed", {**edge, "policy": policy, "reason": reason}, books.shed_reasons.get(reason, 0)


def _reasons_of(channel: Channel) -> list[str]:
    """Give the reasons for which an edge may shed, so that there is a 0 before it does."""
    edge = channel.edge
    reasons = [edge.when_full] if edge.drops else []
    reasons += [UNREADABLE] if edge.spill is not None else []
    reasons += ["block_timeout"] if edge.block_timeout_s is not None else []
    reasons += ["max_wait"] if edge.max_wait_s is not None else []
    return [*reasons, "too_large"] if edge.max_bytes is not None else reasons


def _of_source(runner: SourceRunner) -> Iterator[Reading]:
    node = {"node": runner.plan.name, "kind": "source"}
    yield "dagflow_node_taken", node, runner.taken
    yield "dagflow_node_done", node, runner.taken - runner.failed
    yield "dagflow_node_failed", node, runner.failed
    for outcome, durations in runner.durations.items():
        yield "dagflow_record_duration_seconds", {"source": runner.plan.name, "outcome": outcome}, durations.buckets()


def _of_workflow(runner: SourceRunner, pipeline: str) -> Iterator[Reading]:
    common = {"gen_ai.workflow.name": pipeline, "dagflow.source": runner.plan.name}
    for outcome, durations in runner.workflow_durations.items():
        error = {} if outcome in GOOD else {"error.type": outcome.value}
        yield "gen_ai.workflow.duration", {**common, **error, "dagflow.outcome": outcome.value}, durations.buckets()


def _of_node(runner: NodeRunner) -> Iterator[Reading]:
    node = {"node": runner.plan.name, "kind": runner.plan.kind}
    yield "dagflow_node_taken", node, sum(channel.taken for channel in runner.channels)
    yield "dagflow_node_done", node, runner.done
    yield "dagflow_node_failed", node, runner.failed
    yield "dagflow_node_expired", node, runner.expired
    yield "dagflow_node_cancelled", node, runner.cancelled
    yield "dagflow_node_retried", node, runner.retried
    yield "dagflow_node_busy", node, runner.busy
    yield "dagflow_node_slots", node, runner.plan.concurrency
    yield "dagflow_node_saturation_ratio", node, runner.busy / runner.plan.concurrency
    yield "dagflow_node_waiting", node, sum(channel.statistics().buffered for channel in runner.channels)
    yield "dagflow_stage_duration_seconds", node, runner.latency.buckets()
    if runner.join is not None:
        for name in ("joined", "partial", "incomplete", "timed_out", "late"):
            value = getattr(runner.join, "fired" if name == "joined" else name)
            yield "dagflow_join_records", {"node": runner.plan.name, "result": name}, value
        yield "dagflow_join_waiting", {"node": runner.plan.name}, runner.join.waiting


def _of_plugin(name: str, metrics: Metrics) -> Iterator[Reading]:
    for counter, value in metrics.counters.items():
        yield "dagflow_plugin", {"node": name, "name": counter}, value.value
    for histogram, durations in metrics.histograms.items():
        yield "dagflow_plugin_duration_seconds", {"node": name, "name": histogram}, durations.buckets()


def _of_worker(worker: GuardedWorker) -> Iterator[Reading]:
    tally, name = worker.tally, {"worker": worker.name}
    state: dict[str, Any] = worker.as_dict()
    yield "dagflow_worker_calls", name, tally.calls
    yield "dagflow_worker_busy", name, tally.busy
    yield "dagflow_worker_waiting", name, worker.waiting
    yield "dagflow_worker_answered", name, tally.answered
    yield "dagflow_worker_turned_away", name, tally.turned_away
    yield "dagflow_worker_unmetered", name, tally.unmetered
    for error, count in tally.errors.items():
        yield "dagflow_worker_errors", {**name, "error": error}, count
    for kind in ("input", "output", "cached"):
        yield "dagflow_worker_tokens", {**name, "type": kind}, getattr(tally, f"{kind}_tokens")
    yield "dagflow_worker_cost", name, tally.cost
    yield "dagflow_worker_duration_seconds", name, tally.latency.buckets()
    yield "dagflow_worker_first_chunk_seconds", name, tally.first_chunk.buckets()
    if (breaker := state.get("breaker")) is not None:
        for one in _STATES:
            yield "dagflow_worker_breaker_state", {**name, "state": one}, float(breaker["state"] == one)
        yield "dagflow_worker_breaker_opened", name, breaker["opened"]
    if (concurrency := state.get("concurrency") or state.get("adaptive")) is not None:
        yield "dagflow_worker_concurrency_limit", name, concurrency["limit"]
    for index, limit in enumerate(state.get("limits", ())):
        for what in ("requests", "tokens"):
            if what in limit:
                labels = {**name, "limit": str(index), "of": what}
                yield "dagflow_worker_limit", labels, limit[what]["limit"]
                yield "dagflow_worker_limit_used", labels, limit[what]["used"]
    if (budget := state.get("budget")) is not None:
        yield "dagflow_worker_budget_spent", name, budget["spent"]


def _of_calls(worker: GuardedWorker) -> Iterator[Reading]:
    """Read what the conventions for generative AI ask for; pools ask workers, which tell of themselves."""
    if worker.members:
        return
    tally, options = worker.tally, worker.plugin.options
    model = getattr(options, "model", None)
    common = {"gen_ai.provider.name": provider_of(worker), "dagflow.worker": worker.name}
    common |= {"gen_ai.request.model": model} if isinstance(model, str) else {}
    common |= {name: str(value) for name, value in server_of(options).items()}
    for (operation, kind), sizes in tally.sizes.items():
        labels = {**common, "gen_ai.operation.name": operation, "gen_ai.token.type": kind}
        yield "gen_ai.client.token.usage", labels, sizes.buckets()
    for (operation, error), durations in tally.durations.items():
        labels = {**common, "gen_ai.operation.name": operation} | ({"error.type": error} if error is not None else {})
        yield "gen_ai.client.operation.duration", labels, durations.buckets()
    for operation, durations in tally.first_chunks.items():
        labels = {**common, "gen_ai.operation.name": operation}
        yield "gen_ai.client.operation.time_to_first_chunk", labels, durations.buckets()
    for operation, gaps in tally.chunk_gaps.items():
        labels = {**common, "gen_ai.operation.name": operation}
        yield "gen_ai.client.operation.time_per_output_chunk", labels, gaps.buckets()
