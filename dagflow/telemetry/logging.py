"""Logging: structlog on standard error, as the file's `[logging]` table says.

Data goes to standard output, all else to standard error. Record payloads are never logged, and
secrets are replaced in what is, whoever logs it.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import structlog

if TYPE_CHECKING:
    from dagflow.graph.plan import LoggingPlan
    from dagflow.redaction import Redactor

# Without the values of local variables: those are payloads, secrets and the like.
_JSON_TRACEBACKS: Final = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def configure_logging(plan: LoggingPlan, redactor: Redactor) -> None:
    """Set up structlog for this process; what libraries warn of with `logging` takes the same way."""
    stream = _CurrentStderr(redactor)
    processors = [
        structlog.contextvars.merge_contextvars,
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
        logger_factory=structlog.PrintLoggerFactory(stream),
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
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _console(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )


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
