"""Logging: structlog on standard error, as the file's `[logging]` table says.

Data goes to standard output, all else to standard error. Record payloads are never logged, and
secrets are replaced in what is, whoever logs it.
"""

from __future__ import annotations

import logging
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagflow.graph.plan import LoggingPlan
    from dagflow.redaction import Redactor

# Without the values of local variables: those are payloads, secrets and the like.
_JSON_TRACEBACKS: Final = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)

LINES_A_SECOND: Final = 5
"""So many lines of one event and node are written in a second."""
_MOST_KINDS: Final = 1000  # of events, each at a node, that are kept in mind


def configure_logging(plan: LoggingPlan, redactor: Redactor) -> None:
    """Set up structlog for this process; what libraries warn of with `logging` takes the same way."""
    stream = _CurrentStderr(redactor)
    processors = [
        structlog.contextvars.merge_contextvars,
        RateLimit(),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if plan.format == "json":
        processors += [_JSON_TRACEBACKS, structlog.processors.JSONRenderer()]
    else:
        processors.append(_console())
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, plan.level.upper())),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    logging.lastResort = logging.StreamHandler(stream)
    logging.lastResort.setLevel(logging.WARNING)


def default_logger(redactor: Redactor) -> Any:
    """The program's own structlog where it has set that up, else warnings on standard error."""
    if structlog.is_configured():
        own = structlog.get_logger("dagflow")
        return structlog.wrap_logger(own, processors=[_Redaction(redactor)]) if redactor else own
    return structlog.wrap_logger(
        structlog.PrintLogger(_CurrentStderr(redactor)),
        processors=[
            RateLimit(),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _console(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )


class RateLimit:
    """A structlog processor that lets so many lines of one event and node pass in a second.

    The next line after those that were left out says how many these were.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[tuple[Any, Any], list[int]] = {}  # the second, lines in it, lines left out

    def __call__(self, logger: Any, method: str, event: Any) -> Any:
        """Let an event pass, or drop it."""
        second = int(self._clock())
        kind = event.get("event"), event.get("node")
        if len(self._kinds) >= _MOST_KINDS and kind not in self._kinds:
            self._kinds.clear()
        counts = self._kinds.setdefault(kind, [second, 0, 0])
        if counts[0] != second:
            counts[0], counts[1] = second, 0
        if counts[1] >= LINES_A_SECOND:
            counts[2] += 1
            raise structlog.DropEvent
        counts[1] += 1
        if counts[2]:
            event["left_out"], counts[2] = counts[2], 0
        return event


class _CurrentStderr:
    """Standard error as it is when a line is written: a live display may stand in its place for a while.

    A line that cannot be written is lost: whoever logs has something else to do.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(self._redactor.redact(text))

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


class _Redaction:
    """A structlog processor that hands an event on to another logger, without secrets."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, logger: Any, method: str, event: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        error = event.get("exc_info")
        if error:
            error = error if isinstance(error, BaseException) else sys.exc_info()[1]
            event["exc_info"] = error and self._redactor.scrub(error)
        fields = self._redactor.redact_values(dict(event))
        return (fields.pop("event"),), fields


def _console() -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
