"""What a run shows of itself: lines in a pipe, a redrawn frame on a terminal."""

import asyncio
import io
import re
import sys

import anyio
import pytest

from dagflow.cli.display import Progress, is_interactive, render_frame, render_line
from dagflow.cli.pace import Pace, share_done
from dagflow.graph.plan import NodePlan, Plan
from dagflow.plugin import NoOptions, Sink


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


class Run:
    """A run that accepts 100 records a second of 10,000, and a clock that only `sleep` moves."""

    def __init__(self, naps: int) -> None:
        self.now = 100.0
        self.naps = naps
        self.scope: anyio.CancelScope | None = None

    def clock(self) -> float:
        """Give the time in seconds."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let time pass; the last nap is interrupted by a cancellation."""
        if not self.naps:
            self.scope.cancel()
            await anyio.lowlevel.checkpoint()
        self.naps -= 1
        self.now += seconds

    def snapshot(self):
        """Give the report as of now; ten records are always in flight."""
        accepted = round((self.now - 100.0) * 100)
        return snapshot(accepted, in_flight=min(10, accepted), progress=accepted / 10000, duration_s=self.now - 100.0)

    def show(self, stream, *, interactive):
        """Run a display until its last nap, and give what it printed."""

        async def main():
            with anyio.CancelScope() as self.scope:
                await Progress(self.snapshot, stream, self.clock, interactive, self.sleep).run()

        asyncio.run(main())
        return stream.getvalue()


def snapshot(accepted, *, in_flight=0, progress=None, ended=False, duration_s=10.0, **outcomes):
    """Give a report with as many delivered as the other outcomes leave."""
    delivered = accepted - in_flight - sum(outcomes.values())
    return {
        "pipeline": "five-stage",
        "duration_s": duration_s,
        "accepted": accepted,
        "outcomes": {"delivered": delivered, "filtered": 0, "shed": 0, "expired": 0, "failed": 0, **outcomes},
        "in_flight": in_flight,
        "edges": {
            "questions -> rag": {"buffered": 512, "capacity": 512},
            "rag -> inference": {"buffered": 0, "capacity": 1024},
            "inference -> out": {"buffered": 100, "capacity": 512},
        },
        "sources": {"questions": {"ended": ended, "progress": progress}},
    }


def pace_of(*readings):
    """Read snapshots at times in seconds, from 0 on."""
    pace = Pace(0.0, 10.0)
    for now, seen in readings:
        pace.read(now, seen)
    return pace


def test_line():
    """One line says how many, how they ended, how fast, and how far."""
    seen = snapshot(12000, in_flight=797, progress=0.5, failed=3)
    assert render_line(seen, pace_of((17.5, seen))) == "12,000 accepted, 11,200 delivered, 3 failed, 640/s, 46 %"


def test_line_without_an_end():
    """A live source has no share; nothing delivered yet is said, too."""
    seen = snapshot(5, in_flight=5)
    assert render_line(seen, pace_of((1.0, seen))) == "5 accepted, 0 delivered, 0/s"


def test_lines_in_a_pipe():
    """The first line comes after three seconds, the others every ten; each has the rate since the last."""
    assert Run(naps=3).show(io.StringIO(), interactive=False).splitlines() == [
        "300 accepted, 290 delivered, 96.7/s, 2 %",
        "1,300 accepted, 1,290 delivered, 100/s, 12 %",
        "2,300 accepted, 2,290 delivered, 100/s, 22 %",
    ]


def test_frame():
    """The frame adds what is in flight, the time left, and how full each edge is."""
    seen = snapshot(1000, in_flight=100, progress=0.5, shed=40)
    assert render_frame(seen, pace_of((9.0, seen)), height=24) == [
        "five-stage, 10s: 100/s, 45 %, about 11s left",
        "1,000 accepted, 860 delivered, 40 shed, 100 in flight",
        "questions -> rag  ################    512 of 512",
        "rag -> inference  ................      0 of 1024",
        "inference -> out  ###.............    100 of 512",
    ]


def test_low_terminal_shows_the_fullest_edges():
    """Where not all edges fit, the fullest stay, in the order of the file."""
    seen = snapshot(0)
    assert [line.split("  ")[0] for line in render_frame(seen, pace_of((1.0, seen)), height=4)[2:]] == [
        "questions -> rag",
        "inference -> out",
    ]
    assert len(render_frame(seen, pace_of((1.0, seen)), height=1)) == 1


def on_screen(output):
    """Give the lines that a terminal shows after this output."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", output):
        if part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif part == "\r":
            column = 0
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part.startswith("\x1b"):
            row -= int(part[2:-1]) if part.endswith("A") else 0
        else:
            lines[row] = lines[row][:column].ljust(column) + part
            column += len(part)
    return [line.rstrip() for line in lines if line.strip()]


def test_terminal_is_left_clean():
    """Every line that was drawn is erased, and the cursor comes back."""
    shown = Run(naps=2).show(Terminal(), interactive=True)
    assert shown.count("five-stage") >= 3
    assert on_screen(shown[: shown.index("\x1b[?25h")])[0].startswith("five-stage")
    assert on_screen(shown) == []
    assert shown.index("\x1b[?25l") < shown.rindex("\x1b[?25h")


def test_logs_stay_above_the_display(monkeypatch):
    """What others write to standard error meanwhile is neither overwritten nor erased."""
    terminal, run = Terminal(), Run(naps=2)
    monkeypatch.setattr(sys, "stderr", terminal)
    snapshot = run.snapshot

    def snapshot_and_log():
        print(f"log at {run.now:.1f}", file=sys.stderr)
        return snapshot()

    run.snapshot = snapshot_and_log
    assert on_screen(run.show(terminal, interactive=True)) == ["log at 100.0", "log at 100.2", "log at 100.4"]


def test_standard_output_is_left_alone(capfd):
    """The display writes to its own stream only."""
    Run(naps=2).show(Terminal(), interactive=True)
    Run(naps=2).show(io.StringIO(), interactive=False)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("sink", "stdout", "stderr", "expected"),
    [
        ("jsonl", Terminal(), Terminal(), True),
        ("stdout", Terminal(), Terminal(), False),
        ("somebodys", Terminal(), Terminal(), False),
        ("stdout", io.StringIO(), Terminal(), True),
        ("jsonl", Terminal(), io.StringIO(), False),
    ],
)
def test_redraws_only_where_nothing_else_writes(sink, stdout, stderr, expected, monkeypatch):
    """A sink that may print to the same terminal makes the display plain, and so does one that can't redraw."""
    monkeypatch.setenv("TERM", "xterm")
    plan = Plan("p", None, {"out": NodePlan("out", "sink", sink, Sink, NoOptions())}, ())
    assert is_interactive(plan, stdout, stderr) is expected
    monkeypatch.setenv("TERM", "dumb")
    assert not is_interactive(plan, stdout, stderr)


def test_rate_is_of_the_window():
    """Old readings are forgotten, save the one that bounds the window."""
    pace = pace_of((5.0, snapshot(500)), (10.0, snapshot(500)), (20.0, snapshot(1500)))
    assert pace.per_second == 100.0


@pytest.mark.parametrize(
    ("seen", "share"),
    [
        (snapshot(0, progress=0.0), 0.0),
        (snapshot(0, progress=None), None),
        (snapshot(0, ended=True), 1.0),
        (snapshot(100, in_flight=50, progress=1.0), 0.5),
        (snapshot(100, in_flight=0, progress=None, ended=True), 1.0),
    ],
)
def test_share_counts_what_has_settled(seen, share):
    """What was read but is still in flight is not done."""
    assert share_done(seen) == share


def test_no_guess_without_a_rate():
    """Nothing settled yet, or no known end, gives no time left."""
    stuck = snapshot(10, in_flight=10, progress=0.5)
    endless = snapshot(10)
    assert pace_of((1.0, stuck)).left_s(stuck) is None
    assert pace_of((1.0, endless)).left_s(endless) is None
