"""Call: one call of a worker, as its guards see it. It never calls anybody itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dagflow.chat import text_of
from dagflow.errors import RecordError, WorkerError
from dagflow.traceparent import new_span_id

if TYPE_CHECKING:
    from dagflow.exchange import Request, Usage

CANCELLED: Final = "cancelled"
"""What `Call.error` says of a call that nobody wanted any more."""

TRACEPARENT: Final = "traceparent"
"""Where the metadata of a request, and the `meta` of a record, carry the trace."""

TIMEOUT: Final = "timeout"
"""What it says of one that took too long, for the worker's timeouts or for whoever asked."""

_MOSTLY: Final = 0.5  # the share of the time that the worker had, beyond which a caller's timeout is its fault
_CHARACTERS_A_TOKEN: Final = 4  # of English text, with the tokenizers of today; enough for a reservation
_TIMER_SLACK: Final = 0.95  # the caller's timer began a little before the call


class Call:
    """One call, from being asked for until its end; times are points on the pipeline's clock, in seconds.

    Attributes:
        request: what is asked; None for embeddings.
        texts: what is to be embedded.
        arrived_s: when somebody asked.
        started_s: when the worker was asked; None before.
        first_s: when its first chunk came; None before, and for answers that come whole.
        ended_s: when it was over.
        usage: the tokens, where the worker told.
        error: the class of what went wrong: a kind of `WorkerError`, `bug`, or `cancelled`; None if nothing did.
        retry_after: the wait that the server asked for, in seconds.
        model, finish_reason: what the answer says of itself, where it does.
        span_id: its span, where the record is traced.
        keys: what guards have found out about whose call it is; each uses itself as the key.
    """

    __slots__ = (
        "_estimate",
        "arrived_s",
        "ended_s",
        "error",
        "finish_reason",
        "first_s",
        "keys",
        "model",
        "request",
        "retry_after",
        "span_id",
        "started_s",
        "texts",
        "usage",
    )

    def __init__(self, request: Request | None, arrived_s: float, texts: Any = ()) -> None:
        self.request = request
        self.texts = texts
        self.arrived_s = arrived_s
        self.started_s: float | None = None
        self.first_s: float | None = None
        self.ended_s = 0.0
        self.usage: Usage | None = None
        self.model: str | None = None
        self.finish_reason: str | None = None
        self.span_id: int | None = None
        self.error: str | None = None
        self.retry_after: float | None = None
        self.keys: dict[Any, Any] = {}
        self._estimate: tuple[int, int | None] | None = None

    @property
    def node(self) -> str | None:
        """The node that asks; None where that is not told."""
        return self.request.metadata.get("node") if self.request is not None else None

    @property
    def priority(self) -> float:
        """That of the record; embeddings have none."""
        return self.request.priority if self.request is not None else 0.0

    @property
    def failed(self) -> bool:
        """Whether the worker is to blame for how it ended."""
        return self.error is not None and self.error != CANCELLED

    @property
    def estimate(self) -> tuple[int, int | None]:
        """About how many tokens its input has, and how many its output may have; None where nothing bounds it."""
        if self._estimate is None:
            self._estimate = _estimated(self.request, self.texts)
        return self._estimate

    def note_on_trail(self, worker: str) -> None:
        """Note on the record's trail, where it has one, that a worker is asked; it learns of the trace."""
        request = self.request
        record = request.record if request is not None else None
        if record is None or record.ticket is None:
            return
        trail = record.ticket.trail
        if trail is not None:
            trail.calls.append((worker, self))
        if trail is not None and trail.trace is not None:
            self.span_id = new_span_id()
            request.metadata = {**request.metadata, TRACEPARENT: trail.trace.header(self.span_id)}
        elif TRACEPARENT in record.meta:  # nothing is traced here, but by others
            request.metadata = {**request.metadata, TRACEPARENT: record.meta[TRACEPARENT]}

    def fail(self, error: BaseException, now_s: float, asks_others: bool = False) -> None:
        """Note what ended the call; `asks_others`: whether it is one of a pool.

        A cancellation counts as a timeout where the caller's own timeout has passed and the worker had
        most of that time: a worker that hangs must not look well because others lost patience first.
        """
        if isinstance(error, WorkerError):
            self.error, self.retry_after = error.kind, error.retry_after
        elif isinstance(error, RecordError):
            self.error = "refused"  # a field or an expression: the record's own fault
        elif isinstance(error, Exception):
            self.error = "bug"
        else:
            self.error = TIMEOUT if self._outlasted(now_s, asks_others) else CANCELLED

    def _outlasted(self, now_s: float, asks_others: bool) -> bool:
        limit_s = self.request.timeout_s if self.request is not None else None
        # What waits in a pool's own line has asked nobody.
        began_s = self.request.asked_s if asks_others and self.request is not None else self.started_s
        if limit_s is None or began_s is None or self.first_s is not None:
            return False
        return now_s - self.arrived_s >= limit_s * _TIMER_SLACK and now_s - began_s >= limit_s * _MOSTLY


def _estimated(request: Request | None, texts: Any) -> tuple[int, int | None]:
    if request is None:
        return sum(map(len, texts)) // _CHARACTERS_A_TOKEN + 1, 0
    if request.prompt is not None:
        length = len(request.prompt)
    else:
        length = sum(len(text_of(message)) for message in request.messages or ())
    parameters = request.parameters
    most = parameters.get("max_completion_tokens") or parameters.get("max_tokens")
    return length // _CHARACTERS_A_TOKEN + 1, most if isinstance(most, int) and most > 0 else None
