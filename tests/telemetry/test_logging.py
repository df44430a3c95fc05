"""Where logs go."""

import io
import sys

import pytest
import structlog

from dagflow.graph.plan import LoggingPlan
from dagflow.telemetry.logging import configure_logging


@pytest.fixture
def configured():
    """Set logging up as a run does, and take it back."""
    configure_logging(LoggingPlan())
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("configured")
def test_lines_follow_standard_error(monkeypatch):
    """A logger that was made before a live display began writes through it, or the two would garble each other."""
    logger = structlog.get_logger("dagflow").bind(node="rag")
    display = io.StringIO()
    monkeypatch.setattr(sys, "stderr", display)
    logger.warning("late", count=3)
    assert "late" in display.getvalue()
    assert "node=rag" in display.getvalue()
