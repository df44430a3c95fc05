"""The report: what a run has done, as JSON-like values, at its end or at any moment before.

Its sums always balance: accepted + taken_over + forked == the outcomes + handed_off + given_back + in_flight, and for
each edge offered == taken + shed + expired + cancelled + buffered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagflow.record import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dagflow.channel.channel import Channel
    from dagflow.engine.book import Book
    from dagflow.engine.join import Join
    from dagflow.engine.node_runner import NodeRunner
    from dagflow.engine.source_runner import SourceRunner
    from dagflow.engine.wiring import Wiring
    from dagflow.telemetry.instruments import Metrics

_ORDER = (
    Outcome.DELIVERED,
    Outcome.FILTERED,
    Outcome.SHED,
    Outcome.EXPIRED,
    Outcome.FAILED,
    Outcome.CANCELLED,
)


def build_report(wiring: Wiring, pipeline: str, duration_s: float) -> dict[str, Any]:
    """Read all books. How the run ended is not theirs to know: the engine adds it."""
    book = wiring.book
    nodes = {name: _source_row(runner, wiring.metrics[name]) for name, runner in reversed(wiring.sources.items())}
    nodes |= {name: _node_row(runner, wiring.metrics[name]) for name, runner in reversed(wiring.nodes.items())}
    return {
        "pipeline": pipeline,
        "duration_s": duration_s,
        "accepted": book.accepted,
        "taken_over": book.taken_over,
        "outcomes": _outcomes(book.outcomes),
        "handed_off": book.handed_off,
        **_mesh(book),
        "in_flight": len(book.live),
        "nodes": nodes,
        "edges": {name: _edge_row(channel, wiring) for name, channel in wiring.channels.items()},
        "sources": {
            name: {"ended": runner.ended, "progress": runner.progress}
            for name, runner in reversed(wiring.sources.items())
        },
        "workers": {name: {"type": worker.type, **worker.as_dict()} for name, worker in wiring.own_workers.items()},
        "errors": wiring.faults.as_list(),
        "unfinished": wiring.unfinished.as_list(),
        **({"dead_letters": wiring.letters.as_dict()} if wiring.letters is not None else {}),
    }


def _mesh(book: Book) -> dict[str, int]:
    """Give what is to be told only where records go from machine to machine."""
    counts = {"forked": book.forked, "given_back": book.given_back}
    return {name: count for name, count in counts.items() if count}


def exit_code(
    report: Mapping[str, Any], is_broken: bool, sources: Iterable[SourceRunner], forced: int | None = None
) -> int:
    """Give what a run ends with.

    Args:
        is_broken: whether something other than a record failed.
        forced: what who forced the end wants.
    """
    if forced is not None:
        return forced
    finite = [runner for runner in sources if runner.plugin.finite]
    if is_broken:
        return 1
    if report["unfinished"] or not all(runner.ended for runner in finite):
        return 75
    return 65 if finite and report["outcomes"]["failed"] else 0


def settled_of(report: Mapping[str, Any]) -> int:
    """Give how many records have ended in some way, as far as this program goes."""
    return sum(report["outcomes"].values()) + report["handed_off"] + report.get("given_back", 0)


def _source_row(runner: SourceRunner, metrics: Metrics) -> dict[str, Any]:
    return {
        "kind": "source",
        "type": runner.plan.type,
        "taken": runner.taken,
        "done": runner.taken - runner.failed,
        "failed": runner.failed,
        "not_kept": runner.postbox.not_kept,
        "retried": 0,
        "busy": 0,
        "p50_s": None,
        "p99_s": None,
        "metrics": {name: counter.value for name, counter in metrics.counters.items()},
    }


def _node_row(runner: NodeRunner, metrics: Metrics) -> dict[str, Any]:
    return {
        "kind": runner.plan.kind,
        "type": runner.plan.type,
        "taken": sum(channel.taken for channel in runner.channels),
        "done": runner.done,
        "failed": runner.failed,
        "not_kept": runner.postbox.not_kept,
        **({"shed": runner.shed} if runner.shed else {}),
        "expired": runner.expired,
        "cancelled": runner.cancelled,
        "retried": runner.retried,
        **({"not_retried": budget.denied} if (budget := runner.guard.retry_budget) is not None else {}),
        "busy": runner.busy,
        "p50_s": runner.latency.quantile_s(0.50),
        "p99_s": runner.latency.quantile_s(0.99),
        "metrics": {name: counter.value for name, counter in metrics.counters.items()},
        **({"join": _join_row(runner.join)} if runner.join is not None else {}),
        **({"position": runner.position} if runner.position is not None else {}),
    }


def _join_row(join: Join) -> dict[str, int]:
    """Records that the join let through or not, branches that came late, and those that wait."""
    return {
        "joined": join.fired,
        "partial": join.partial,
        "incomplete": join.incomplete,
        "timed_out": join.timed_out,
        "late": join.late,
        "waiting": join.waiting,
    }


def _edge_row(channel: Channel, wiring: Wiring) -> dict[str, Any]:
    books, shadow = channel.statistics(), wiring.shadows.get(channel.edge.name)
    row = {
        "capacity": books.capacity,
        "when_full": channel.edge.when_full,
        "offered": books.offered,
        "taken": books.taken,
        "shed": books.shed,
        "expired": books.expired,
        "cancelled": books.cancelled,
        "buffered": books.buffered,
        "max_depth": books.max_depth,
        "shed_reasons": dict(books.shed_reasons),
    }
    if channel.edge.spill is not None:
        row["spilled"] = channel.overflow.spilled
    if channel.edge.dead_letter:
        row["not_kept"] = wiring.postboxes[channel.edge.name].not_kept
    if shadow is not None:
        row["best_effort"] = _outcomes(shadow.outcomes)
        if shadow.outcomes[Outcome.HANDED_OFF]:
            row["best_effort"]["handed_off"] = shadow.outcomes[Outcome.HANDED_OFF]
    return row


def _outcomes(counts: Mapping[Outcome, int]) -> dict[str, int]:
    return {outcome.value: counts[outcome] for outcome in _ORDER}
