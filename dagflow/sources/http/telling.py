"""Telling: the headers that say how an answer came about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.completion import Completion

if TYPE_CHECKING:
    from dagflow.sources.http.submission import Submission


def headers_of(submission: Submission, now_s: float) -> dict[str, str]:
    """Give the `x-dagflow-*` headers of an answer.

    `queue-ms` is how long the record has waited, in edges and for workers; `overhead-ms` is all the time that no
    worker worked for it, that waiting included. A streamed answer tells what is known at its first chunk.
    """
    headers = {}
    completion = (submission.answer or {}).get("completion")
    trail = submission.trail
    if trail is not None:
        passed_s = now_s - submission.arrived_s
        headers["x-dagflow-attempts"] = str(len(trail.calls))
        headers["x-dagflow-queue-ms"] = f"{trail.waited_s(now_s) * 1000:.1f}"
        headers["x-dagflow-overhead-ms"] = f"{max(passed_s - trail.worked_s(now_s), 0.0) * 1000:.1f}"
        if trail.calls:
            headers["x-dagflow-worker"] = trail.calls[-1][0]
    if isinstance(completion, Completion):
        headers["x-dagflow-cache"] = completion.shared or "none"
        if completion.usage is not None and completion.usage.cost is not None:
            headers["x-dagflow-cost"] = f"{completion.usage.cost:.8f}".rstrip("0").rstrip(".")
    return headers
