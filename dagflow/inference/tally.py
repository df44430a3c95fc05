"""Tally: what the calls of one worker came to."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dagflow.telemetry.genai import DURATION_BOUNDS, FIRST_CHUNK_BOUNDS, TOKEN_BOUNDS, operation_of
from dagflow.telemetry.instruments import Distribution, Histogram

if TYPE_CHECKING:
    from dagflow.inference.call import Call

_durations: Final = partial(Distribution, DURATION_BOUNDS)
_sizes: Final = partial(Distribution, TOKEN_BOUNDS)
_first_chunks: Final = partial(Distribution, FIRST_CHUNK_BOUNDS)
_SILENT: Final = frozenset({"timeout", "unavailable"})
_SAYS_NOTHING: Final = frozenset({"bug", "cancelled"})  # of the worker


class Tally:
    """The books of one worker.

    Attributes:
        calls: how many were made.
        busy: how many of these have not ended.
        answered: how many ended well; the others are in `errors`, by class.
        turned_away: how many were not made, since a guard refused them.
        silent: how many of the last calls in a row got nothing at all out of the worker.
        unmetered: how many began to answer, and ended without a usage: their tokens are in no sum.
        durations: of calls by operation and error, in seconds; sizes: of inputs and outputs by operation, in tokens;
            first_chunks, chunk_gaps: by operation, in seconds; with the bounds of the conventions for generative AI.
        latency: of whole calls; first_chunk: of streams, until their first chunk; both from the asking of the worker.
    """

    def __init__(self) -> None:
        self.calls = self.busy = self.answered = self.unmetered = self.turned_away = 0
        self.silent = 0
        self.errors: Counter[str] = Counter()
        self.input_tokens = self.output_tokens = self.cached_tokens = 0
        self.cost = 0.0
        self.latency = Histogram()
        self.first_chunk = Histogram()
        self.durations: defaultdict[tuple[str, str | None], Distribution] = defaultdict(_durations)
        self.sizes: defaultdict[tuple[str, str], Distribution] = defaultdict(_sizes)
        self.first_chunks: defaultdict[str, Distribution] = defaultdict(_first_chunks)
        self.chunk_gaps: defaultdict[str, Distribution] = defaultdict(_durations)

    def begin(self) -> None:
        """Count a call that is made."""
        self.calls += 1
        self.busy += 1

    def end(self, call: Call) -> None:
        """Count how it ended."""
        self.busy -= 1
        if call.error is None:
            self.answered += 1
            self.silent = 0
        else:
            self.errors[call.error] += 1
            if call.error not in _SAYS_NOTHING:
                self.silent = self.silent + 1 if call.error in _SILENT else 0
        operation, usage = operation_of(call), call.usage
        if usage is not None:
            self.sizes[operation, "input"].observe(usage.input_tokens)
            self.sizes[operation, "output"].observe(usage.output_tokens)
            self.input_tokens += usage.input_tokens
            self.output_tokens += usage.output_tokens
            self.cached_tokens += usage.cached_tokens
            self.cost += usage.cost or 0.0
        elif call.error is None or call.first_s is not None:
            self.unmetered += 1
        took_s = call.ended_s - call.started_s
        self.latency.observe(round(took_s * 1e9))
        self.durations[operation, call.error].observe(took_s)
        if call.first_s is not None:
            self.first_chunks[operation].observe(call.first_s - call.started_s)
            self.first_chunk.observe(round((call.first_s - call.started_s) * 1e9))

    def as_dict(self) -> dict[str, Any]:
        """Give the books as JSON-like values."""
        return {
            "calls": self.calls,
            "busy": self.busy,
            "answered": self.answered,
            "errors": dict(self.errors),
            "turned_away": self.turned_away,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cached_tokens": self.cached_tokens,
            "cost": round(self.cost, 12),
            "unmetered": self.unmetered,
            "p50_s": self.latency.quantile_s(0.50),
            "p99_s": self.latency.quantile_s(0.99),
            "first_chunk_p50_s": self.first_chunk.quantile_s(0.50),
        }
