"""Logging: structlog on standard error, as the file's `[logging]` table says.

Data goes to standard output, all else to standard error. Record payloads are never logged.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from dagflow.graph.plan import LoggingPlan


def configure_logging(plan: LoggingPlan) -> None:
    """Set up structlog for this process."""
    processors = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if plan.format == "json":
        processors += [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    else:
        processors.append(_console())
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, plan.level.upper())),
        logger_factory=structlog.PrintLoggerFactory(_CurrentStderr()),
        cache_logger_on_first_use=False,
    )


def default_logger() -> Any:
    """The program's own structlog where it has set that up, else warnings on standard error."""
    if structlog.is_configured():
        return structlog.get_logger("dagflow")
    return structlog.wrap_logger(
        structlog.PrintLogger(_CurrentStderr()),
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

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


def _console() -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
