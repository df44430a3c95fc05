"""The catalogue of metrics: the name, kind, unit and meaning of each. The documentation's table is made from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from dagflow.telemetry.families import Kind


class Entry(NamedTuple):
    """What is said of one metric."""

    kind: Kind
    help: str
    unit: str = ""


def _counter(help: str, unit: str = "") -> Entry:
    return Entry("counter", help, unit)


def _gauge(help: str, unit: str = "") -> Entry:
    return Entry("gauge", help, unit)


def _histogram(help: str, unit: str = "s") -> Entry:
    return Entry("histogram", help, unit)


CATALOG: Final[dict[str, Entry]] = {
    "dagflow_build_info": _gauge("Always 1; the version and the pipeline stand in the labels."),
    "dagflow_uptime_seconds": _gauge("How long the run has lasted.", "s"),
    "dagflow_records_accepted": _counter("Records that sources accepted."),
    "dagflow_records_taken_over": _counter(
        "Records that an earlier run or another machine had accepted, and that go on here."
    ),
    "dagflow_records_handed_off": _counter("Records that a broker took for other machines."),
    "dagflow_records_given_back": _counter("Records taken over that a broker gets back, as work on them was cut off."),
    "dagflow_records_forked": _gauge("Further records that came to be as one was handed off beside its other ways."),
    "dagflow_records": _counter("Records that have settled, by outcome."),
    "dagflow_records_in_flight": _gauge("Records accepted and not yet settled."),
    "dagflow_records_in_flight_limit": _gauge("How many records may be in flight."),
    "dagflow_record_duration_seconds": _histogram("From acceptance to the outcome, of services and traced runs."),
    "dagflow_edge_depth": _gauge("Records that wait in the edge."),
    "dagflow_edge_capacity": _gauge("How many records may wait in the edge."),
    "dagflow_edge_oldest_age_seconds": _gauge("How long the record has waited that has waited longest.", "s"),
    "dagflow_edge_waiting_senders": _gauge("Senders that wait for room."),
    "dagflow_edge_offered": _counter("Records sent to the edge: taken, shed, expired, cancelled and waiting ones."),
    "dagflow_edge_taken": _counter("Records that the node behind the edge took."),
    "dagflow_edge_spilled": _counter("Records that went to disk, since the edge had no room for them in memory."),
    "dagflow_edge_spill_bytes": _gauge("Size of what the edge has on disk, in bytes."),
    "dagflow_edge_shed": _counter("Records that the edge shed, by its policy and the reason."),
    "dagflow_edge_expired": _counter("Records whose deadline passed in the edge."),
    "dagflow_edge_cancelled": _counter("Records that were cancelled in the edge."),
    "dagflow_node_taken": _counter("Records that the node took, or, as a source, accepted."),
    "dagflow_node_done": _counter("Records that the plugin processed without an error."),
    "dagflow_node_failed": _counter("Records that failed in the node for good."),
    "dagflow_node_expired": _counter("Records whose deadline passed in the node."),
    "dagflow_node_cancelled": _counter("Records that were cancelled in the node."),
    "dagflow_node_retried": _counter("Attempts beyond the first."),
    "dagflow_node_busy": _gauge("Slots with a record in hand."),
    "dagflow_node_slots": _gauge("Slots, as `concurrency` says."),
    "dagflow_node_saturation_ratio": _gauge("The share of slots with a record in hand."),
    "dagflow_node_waiting": _gauge("Records that wait in the edges before the node."),
    "dagflow_stage_duration_seconds": _histogram("How long the plugin took for a record, retries included."),
    "dagflow_join_records": _counter("Records and branches at the join, by what became of them."),
    "dagflow_join_waiting": _gauge("Records that wait for their other branches."),
    "dagflow_plugin": _counter("What the plugin itself counts, by name."),
    "dagflow_plugin_duration_seconds": _histogram("What the plugin itself measures, by name."),
    "dagflow_worker_calls": _counter("Calls made; each attempt is one."),
    "dagflow_worker_busy": _gauge("Calls that have not ended."),
    "dagflow_worker_waiting": _gauge("Calls that the guards hold back."),
    "dagflow_worker_answered": _counter("Calls that ended well."),
    "dagflow_worker_errors": _counter("Calls that did not, by the kind of the error."),
    "dagflow_worker_turned_away": _counter("Calls that a guard refused."),
    "dagflow_worker_unmetered": _counter("Calls that began to answer and told no usage."),
    "dagflow_worker_tokens": _counter("Tokens, by type; cached ones are among those of the input."),
    "dagflow_worker_cost": _counter("What the calls cost, in the currency of the worker's prices."),
    "dagflow_worker_duration_seconds": _histogram("How long calls took."),
    "dagflow_worker_first_chunk_seconds": _histogram("How long streams took to their first chunk."),
    "dagflow_worker_breaker_state": _gauge("1 for the state that the breaker is in."),
    "dagflow_worker_breaker_opened": _counter("How often the breaker has opened."),
    "dagflow_worker_concurrency_limit": _gauge("How many calls may be made at a time now."),
    "dagflow_worker_limit": _gauge("The bound of a limit, of requests or tokens."),
    "dagflow_worker_limit_used": _gauge("How much of it is used; of a keyed limit, by the key that uses most."),
    "dagflow_worker_budget_spent": _gauge("What is spent of the budget's present period."),
    "dagflow_dead_letters_kept": _counter("Dead letters that this run has kept."),
    "dagflow_dead_letters_in_store": _gauge("Dead letters in the store."),
    "dagflow_exports_failed": _counter("Exports of metrics that failed, by exporter."),
    "gen_ai.client.token.usage": _histogram("Tokens of one call, by type.", "{token}"),
    "gen_ai.client.operation.duration": _histogram("How long a call of a model took."),
    "gen_ai.client.operation.time_to_first_chunk": _histogram("How long a stream took to its first chunk."),
    "gen_ai.client.operation.time_per_output_chunk": _histogram(
        "From one chunk of a stream to the next, the time of its reader included."
    ),
    "gen_ai.workflow.duration": _histogram(
        "From acceptance to the outcome, of services and traced runs that have workers."
    ),
}
"""The metrics by name; in Prometheus, counters end in `_total`, and dots become `_`."""
