"""Where logs go, and what they leave out."""

import io
import json
import logging
import sys
from contextlib import suppress

import pytest
import structlog

from dagflow.graph.plan import LoggingPlan
from dagflow.redaction import Redactor
from dagflow.telemetry.logging import RateLimit, configure_logging, default_logger
from dagflow.testing import ManualClock

KEY = "sk-123456"
STARS = "*" * 10


@pytest.fixture
def configure():
    """Give what sets logging up as a run does; it is taken back with the test."""
    last = logging.lastResort
    yield lambda **settings: configure_logging(LoggingPlan(**settings), Redactor([KEY]))
    structlog.reset_defaults()
    logging.lastResort = last


def test_lines_follow_standard_error(configure, monkeypatch):
    """A logger that was made before a live display began writes through it, or the two would garble each other."""
    configure()
    logger = structlog.get_logger("dagflow").bind(node="rag")
    display = io.StringIO()
    monkeypatch.setattr(sys, "stderr", display)
    logger.warning("late", count=3)
    assert "late" in display.getvalue()
    assert "node=rag" in display.getvalue()


@pytest.mark.parametrize("format", ["console", "json"])
def test_no_secret_is_logged_by_anybody(configure, capsys, format):
    """Not by plugins with their context's logger or one of their own, nor by libraries, in text or traceback."""
    configure(format=format)
    for logger in (default_logger(Redactor([KEY])), structlog.get_logger()):
        logger.warning(f"with {KEY}", url=f"http://u:{KEY}@localhost/")
        try:
            raise ValueError(f"no {KEY}")
        except ValueError:
            logger.exception("failed")
    # A logger of `logging` would go to the handlers of the test run.
    logging.lastResort.handle(logging.LogRecord("library", logging.WARNING, "", 1, "with %s", (KEY,), None))
    told = capsys.readouterr().err
    assert KEY not in told
    assert told.count(STARS) >= 7


def test_a_traceback_in_json_has_no_local_variables(configure, capsys):
    """They are payloads, as records are."""
    configure(format="json")
    try:
        payload = "from a record"
        raise ValueError("failed")
    except ValueError:
        structlog.get_logger().exception("failed")
    told = capsys.readouterr().err
    assert payload not in told
    assert json.loads(told)["exception"][0]["frames"][-1]["name"].startswith("test_")


def test_what_cannot_be_written_is_lost(configure, monkeypatch):
    """Whoever logs goes on."""
    configure()
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    structlog.get_logger().warning("lost")


def test_lines_are_bounded():
    """Five a second of each event and node; the next one says how many were left out."""
    clock = ManualClock(10.0)
    limit, passed = RateLimit(clock), []

    def log(event, **fields):
        with suppress(structlog.DropEvent):
            passed.append(limit(None, "info", {"event": event, **fields}))

    for number in range(8):
        log("failed", node="a", number=number)
    log("failed", node="b")
    log("other", node="a")
    clock.advance(1)
    log("failed", node="a")
    log("failed", node="a")
    numbers = [event.get("number") for event in passed if event["event"] == "failed" and event["node"] == "a"]
    assert numbers == [0, 1, 2, 3, 4, None, None]
    assert [event.get("left_out") for event in passed[-2:]] == [3, None]
    assert len(passed) == 9
