"""ManualClock: a pipeline's clock that only the test moves."""

from __future__ import annotations


class ManualClock:
    """Seconds that pass only when somebody says so; give it as the `clock` of a run.

    What is compared with the clock moves with it: deadlines of records that wait, `max_wait`, ageing.
    Timeouts of work in progress are timers of the event loop, and pass in real time.
    """

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        """Tell the time."""
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            ValueError: it would go back.
        """
        if seconds < 0:
            raise ValueError(f"a monotonic clock cannot go back by {-seconds:g} s")
        self.now_s += seconds
