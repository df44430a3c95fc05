"""The command line as a user sees it, with the toys as the only installed plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from toys import BROKEN, OFFERS
from typer.testing import CliRunner

from dagflow import registry
from dagflow.cli import app

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer.testing import Result


@pytest.fixture
def dagflow(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Call `dagflow` with arguments; give its exit code and what it printed."""
    points = (*OFFERS, *BROKEN)
    monkeypatch.setattr(registry, "_installed", lambda groups: [p for p in points if p.group in groups])
    monkeypatch.setenv("QUESTIONS", "somewhere")
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])
