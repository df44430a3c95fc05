"""What a run shows of itself while it lasts, on standard error.

On a terminal that nothing else writes to: a few lines that are drawn again and again, and
gone at the end. Elsewhere a plain line now and then. Never a byte on standard output, and
never a redrawn screen where a sink prints to it: the two would overwrite each other.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, TextIO

import anyio

from dagflow.cli.numbers import show_count, show_counts, show_duration, show_rate, show_share
from dagflow.cli.pace import Pace, share_done

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from dagflow.graph.plan import Plan

    Snapshot = Mapping[str, Any]

FIRST_LINE_S: Final = 3.0
LINE_EVERY_S: Final = 10.0
FRAME_EVERY_S: Final = 0.2
_WINDOW_S: Final = 5.0  # of the rate on a screen: long enough to be read, short enough to be news
_BAR: Final = 16  # columns

# Sinks that are known to print nothing.
_QUIET_SINKS: Final = frozenset({"jsonl", "null", "reply"})


def is_interactive(plan: Plan, stdout: TextIO, stderr: TextIO) -> bool:
    """Whether the display may redraw: standard error is a terminal that can, and no sink may print to it."""
    prints = any(sink.type not in _QUIET_SINKS for sink in plan.of_kind("sink"))
    draws = stderr.isatty() and os.environ.get("TERM") != "dumb"
    return draws and not (stdout.isatty() and prints)


class Progress:
    """Shows how far a run has come, until it is cancelled."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        stream: TextIO,
        clock: Callable[[], float],
        interactive: bool,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        """Take what gives the report as of now, where to print, and the clock in seconds."""
        self._snapshot = snapshot
        self._stream = stream
        self._clock = clock
        self._interactive = interactive
        self._sleep = sleep

    async def run(self) -> None:
        """Print or draw until cancelled; leaves the terminal as it was."""
        await (self._draw() if self._interactive else self._print())

    async def _print(self) -> None:
        pace = Pace(self._clock(), LINE_EVERY_S)
        await self._sleep(FIRST_LINE_S)
        while True:
            snapshot = self._snapshot()
            pace.read(self._clock(), snapshot)
            self._stream.write(render_line(snapshot, pace) + "\n")
            self._stream.flush()
            await self._sleep(LINE_EVERY_S)

    async def _draw(self) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        console = Console(file=self._stream, force_terminal=True, highlight=False)
        pace = Pace(self._clock(), _WINDOW_S)
        # What others write to standard error meanwhile (logs) is put above the display by rich.
        with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False) as live:
            while True:
                snapshot = self._snapshot()
                pace.read(self._clock(), snapshot)
                lines = render_frame(snapshot, pace, console.height - 1)
                live.update(Text("\n".join(lines), no_wrap=True, overflow="crop"), refresh=True)
                await self._sleep(FRAME_EVERY_S)


def render_line(snapshot: Snapshot, pace: Pace) -> str:
    """Say it in one line: `12,000 accepted, 11,200 delivered, 3 failed, 640/s, 45 %`."""
    return ", ".join([_counts(snapshot), show_rate(pace.per_second), *_share(snapshot)])


def render_frame(snapshot: Snapshot, pace: Pace, height: int) -> list[str]:
    """Give the lines of the display, at most `height`: what was done, and how full the edges are."""
    left = pace.left_s(snapshot)
    speed = [show_rate(pace.per_second), *_share(snapshot)]
    if left is not None:
        speed.append(f"about {show_duration(left)} left")
    head = [
        f"{snapshot['pipeline']}, {show_duration(snapshot['duration_s'])}: {', '.join(speed)}",
        f"{_counts(snapshot)}, {show_count(snapshot['in_flight'])} in flight",
    ]
    return (head + _edge_lines(snapshot["edges"], height - len(head)))[:height]


def _counts(snapshot: Snapshot) -> str:
    ended = {name: number for name, number in snapshot["outcomes"].items() if number or name == "delivered"}
    return show_counts({"accepted": snapshot["accepted"], **ended})


def _share(snapshot: Snapshot) -> list[str]:
    share = share_done(snapshot)
    return [] if share is None else [show_share(share)]


def _edge_lines(edges: Mapping[str, Mapping[str, Any]], height: int) -> list[str]:
    """Draw the edges in the order of the file; if there are too many, those that are fullest."""
    fill = {name: edge["buffered"] / edge["capacity"] for name, edge in edges.items()}
    chosen = sorted(fill, key=fill.__getitem__, reverse=True)[: max(height, 0)]
    width = max(map(len, chosen), default=0)
    return [
        f"{name:<{width}}  {_bar(fill[name])}  {edge['buffered']:>5} of {edge['capacity']}"
        for name, edge in edges.items()
        if name in chosen
    ]


def _bar(share: float) -> str:
    full = min(round(share * _BAR), _BAR)
    return "#" * full + "." * (_BAR - full)
