"""Summary: what a crew has done, as one report and one set of metrics."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from dagflow.engine.merging import as_left, cancelled_standing, merge_families, merge_latencies, merge_reports

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagflow.engine.standing import Standing
    from dagflow.graph.plan import Plan
    from dagflow.processes.hosting import Hosting
    from dagflow.processes.member import Member
    from dagflow.processes.relay import Relay
    from dagflow.processes.tracking import Tracking
    from dagflow.telemetry.families import Family

_EMPTY: Final[dict[str, Any]] = {
    "duration_s": 0.0,
    "accepted": 0,
    "taken_over": 0,
    "handed_off": 0,
    "outcomes": dict.fromkeys(("delivered", "filtered", "shed", "expired", "failed", "cancelled"), 0),
    "in_flight": 0,
    "nodes": {},
    "edges": {},
    "sources": {},
    "workers": {},
    "errors": [],
    "unfinished": [],
}


class Summary:
    """Reads what the children said last, and what the parent knows.

    Args:
        hostings: what the parent has opened.
    """

    def __init__(
        self,
        plan: Plan,
        members: Sequence[Member],
        hostings: Sequence[Hosting],
        relays: Mapping[str, Relay],
        tracking: Tracking,
    ) -> None:
        self._plan = plan
        self._members = members
        self._hostings = hostings
        self._relays = relays
        self._tracking = tracking
        self._left: list[Standing] = []
        self._unfinished: list[dict[str, str]] = []

    def bury(self, member: Member) -> None:
        """Keep what a child had done that died."""
        if member.state is None:
            return
        is_tracked = self._tracking.knows_all or bool(self._relays)
        self._left.append(as_left(member.state.standing, dict(member.outcomes) if is_tracked else None))
        member.state = None

    def note_unfinished(self, member: Member) -> None:
        """Note what a child left that died while the run was drained: nobody goes on with it."""
        where = f"process {member.index}"
        self._unfinished += [{"id": mark.id, "where": where} for mark in member.marks.values()]

    @property
    def exit_codes(self) -> set[int]:
        """The exit codes of the children that said their last."""
        return {
            member.state.standing.report["exit_code"] for member in self._members if member.state and member.is_last
        }

    def report(self) -> dict[str, Any]:
        """Give the report of all, as they were when they were asked last; how it ended is the crew's to know."""
        standings = self._standings()
        report = merge_reports(standings) if standings else {"pipeline": self._plan.name, **_EMPTY}
        report["unfinished"] = [*report["unfinished"], *self._unfinished]
        checkpoint = report.pop("checkpoint", None)
        report |= self._tracking.as_dict(0 if checkpoint is None else checkpoint["skipped"])
        for name, row in report["nodes"].items():
            self._add_hosted(name, row)
        for name, relay in self._relays.items():
            report["sources"][name] = {"ended": relay.ended, "progress": relay.progress}
        report["processes"] = [_row(member) for member in self._members if member.starts]
        report["parent"] = {"pid": os.getpid(), "cpu_s": time.process_time()}
        return report

    def latencies(self) -> dict[str, Counter[int]]:
        """Give the histograms behind the quantiles of the report."""
        return merge_latencies(self._standings())

    def reasons(self) -> list[tuple[str, str]]:
        """Say what is not ready, and why."""
        down = [(f"process {m.index}", "it is being started") for m in self._members if not m.takes_records]
        told = [reason for member in self._members if member.state is not None for reason in member.state.reasons]
        return [*down, *dict.fromkeys(told)]

    def families(self) -> list[Family]:
        """Give the metrics of all."""
        return merge_families([standing.families for standing in self._standings()])

    def _standings(self) -> list[Standing]:
        told = [*self._left, *(member.state.standing for member in self._members if member.state is not None)]
        given_up = sum(relay.given_up for relay in self._relays.values())
        return [*told, cancelled_standing(given_up)] if told and given_up else told

    def _add_hosted(self, name: str, row: dict[str, Any]) -> None:
        """Add what a plugin in the parent has counted, and where a sink stands."""
        for hosting in self._hostings:
            if (metrics := hosting.metrics.get(name)) is not None:
                row["metrics"] |= {key: counter.value for key, counter in metrics.counters.items()}
            sink = hosting.nodes.get(name)
            if sink is not None and sink.position is not None:
                row["position"] = sink.position


def _row(member: Member) -> dict[str, Any]:
    report = {} if member.state is None else member.state.standing.report
    return {
        "index": member.index,
        "pid": member.pid,
        "alive": not member.gone.is_set(),
        "restarts": member.starts - 1,
        "accepted": report.get("accepted", 0),
        "settled": Counter(report.get("outcomes", {})).total(),
        "in_flight": report.get("in_flight", 0),
        "cpu_s": None if member.state is None else member.state.cpu_s,
    }
