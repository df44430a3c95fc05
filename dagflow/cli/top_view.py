"""The view of `dagflow top`: from readings of a listener's status to tables. It asks nobody.

What is fuller than the screen is cut at its end; the numbers of the pipeline as a whole come first.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from dagflow.cli.numbers import show_count, show_counts, show_duration, show_rate
from dagflow.cli.tables import Block, Column, Table, as_rich, print_blocks

if TYPE_CHECKING:
    from collections.abc import Mapping

    Status = Mapping[str, Any]

_BAR: Final = 10  # columns


class Rates:
    """Rates from the differences of two readings; a counter that went backwards began anew."""

    def __init__(self) -> None:
        self._before: tuple[float, dict[str, int]] | None = None
        self._per_second: dict[str, float] = {}

    def read(self, status: Status) -> None:
        """Take a reading."""
        now, counters = status["time"], _counters(status)
        if self._before is not None and now > self._before[0]:
            passed, before = now - self._before[0], self._before[1]
            self._per_second = {name: max(value - before.get(name, 0), 0) / passed for name, value in counters.items()}
        self._before = now, counters

    def of(self, name: str) -> str:
        """Show the rate of a counter; a dash before the second reading."""
        return show_rate(self._per_second[name]) if name in self._per_second else "-"

    def as_dict(self) -> dict[str, float]:
        """Give all rates, a second."""
        return dict(self._per_second)


class Screen:
    """A terminal that shows one reading after the other; leaves it as it was."""

    def __enter__(self) -> Screen:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(highlight=False, markup=False, emoji=False)
        self._live = Live(console=self._console, screen=True, auto_refresh=False)
        self._live.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self._live.__exit__(*details)

    def show(self, status: Status, rates: Rates) -> None:
        """Show a reading."""
        from rich.console import Group
        from rich.text import Text

        parts: list[Any] = []
        for block in build_blocks(status, rates):
            parts += [as_rich(block), Text("")]
        self._live.update(Group(*parts), refresh=True)


def render_text(status: Status, rates: Rates) -> str:
    """Give a reading as plain text, for a file or a pipe."""
    out = io.StringIO()
    print_blocks(build_blocks(status, rates), out)
    return out.getvalue()


def build_blocks(status: Status, rates: Rates) -> list[Block]:
    """Give the paragraphs and tables of a reading."""
    blocks: list[Block] = [_head(status, rates), _nodes(status, rates), _edges(status, rates)]
    if status["workers"]:
        blocks.append(_workers(status, rates))
    if "processes" in status:
        blocks.append(_processes(status, rates))
    return blocks


def _head(status: Status, rates: Rates) -> str:
    ready = "ready" if status["ready"] else "not ready"
    state = f"{status['state']}, {ready}" if status["state"] == "running" else status["state"]
    stopped = f" by {status['stopped_by']}" if status["stopped_by"] else ""
    ends = status["outcomes"] | {"handed off": status["handed_off"], "given back": status.get("given_back", 0)}
    outcomes = show_counts({name: number for name, number in ends.items() if number})
    over = f" + {show_count(status['taken_over'])} taken over" if status["taken_over"] else ""
    lines = [
        f"{status['pipeline']}: {state}{stopped}, up {show_duration(status['uptime_s'])}",
        f"{rates.of('settled')} settled, {rates.of('accepted')} accepted, "
        f"{show_count(status['in_flight'])} of {show_count(status['max_in_flight'])} in flight",
        f"{show_count(status['accepted'])} accepted{over}" + (f" = {outcomes}" if outcomes else ""),
    ]
    if "dead_letters" in status:
        lines.append(f"{show_count(status['dead_letters']['in_store'])} dead letters")
    if status["state"] == "running":
        lines += [f"{reason['what']}: {reason['reason']}" for reason in status["reasons"]]
    return "\n".join(lines)


def _nodes(status: Status, rates: Rates) -> Table:
    columns = [Column("node"), Column("type"), *_numbers("rate", "busy", "p50", "p99"), _alarm("failed")]
    rows = []
    for name, row in status["nodes"].items():
        fresh = row.get("recent") or {}
        latest = fresh if fresh.get("count") else row
        rows.append(
            [
                name,
                f"{row['kind']} {row['type']}",
                rates.of(f"node {name}"),
                f"{row['busy']}/{row['slots']}" if "slots" in row else "-",
                show_duration(latest["p50_s"]),
                show_duration(latest["p99_s"]),
                show_count(row["failed"]),
            ]
        )
    return Table(columns, rows)


def _edges(status: Status, rates: Rates) -> Table:
    columns = [Column("edge"), Column("depth"), *_numbers("", "rate", "oldest"), _alarm("shed"), _alarm("expired")]
    rows = [
        [
            name,
            _bar(row["buffered"] / row["capacity"]),
            f"{show_count(row['buffered'])}/{show_count(row['capacity'])}",
            rates.of(f"edge {name}"),
            show_duration(row.get("oldest_s")),
            show_count(row["shed"]),
            show_count(row["expired"]),
        ]
        for name, row in status["edges"].items()
    ]
    return Table(columns, rows)


def _workers(status: Status, rates: Rates) -> Table:
    numbers = _numbers("calls", "busy", "waiting", "p50", "p99", "tokens", "cost")
    columns = [Column("worker"), Column("type"), Column("breaker"), *numbers, _alarm("errors")]
    rows = [
        [
            name,
            row["type"],
            row.get("breaker", {}).get("state", "-"),
            rates.of(f"worker {name}"),
            _busy(row),
            show_count(row["waiting"]),
            show_duration(row["p50_s"]),
            show_duration(row["p99_s"]),
            show_count(row["input_tokens"] + row["output_tokens"]),
            f"{row['cost']:.4g}" if row["cost"] else "-",
            show_count(sum(row["errors"].values())),
        ]
        for name, row in status["workers"].items()
    ]
    return Table(columns, rows)


def _processes(status: Status, rates: Rates) -> Table:
    columns = [Column("process"), Column("pid"), *_numbers("rate", "in flight", "accepted", "cpu"), _alarm("restarts")]
    rows = [
        [
            str(row["index"]),
            str(row["pid"]) if row["alive"] else "down",
            rates.of(f"process {row['index']}"),
            show_count(row["in_flight"]),
            show_count(row["accepted"]),
            show_duration(row["cpu_s"]),
            show_count(row["restarts"]),
        ]
        for row in status["processes"]
    ]
    parent = status["parent"]
    rows.append(["parent", str(parent["pid"]), "-", "-", "-", show_duration(parent["cpu_s"]), "-"])
    return Table(columns, rows)


def _counters(status: Status) -> dict[str, int]:
    return {
        "accepted": status["taken_in"],
        "settled": status["settled"],
        **{f"node {name}": row["done"] for name, row in status["nodes"].items()},
        **{f"edge {name}": row["taken"] for name, row in status["edges"].items()},
        **{f"worker {name}": row["calls"] for name, row in status["workers"].items()},
        **{f"process {row['index']}": row["settled"] for row in status.get("processes", ())},
    }


def _busy(row: Mapping[str, Any]) -> str:
    limit = row.get("concurrency", {}).get("limit")
    return str(row["busy"]) if limit is None else f"{row['busy']}/{limit}"


def _numbers(*titles: str) -> list[Column]:
    return [Column(title, is_number=True) for title in titles]


def _alarm(title: str) -> Column:
    return Column(title, is_number=True, is_alarm=True)


def _bar(share: float) -> str:
    full = min(round(share * _BAR), _BAR)
    return "#" * full + "." * (_BAR - full)
