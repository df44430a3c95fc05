"""dagflow.testing: the kit for authors of plugins. Scripted workers, a harness, and the rules of the contract.

Each name is imported when first asked for. Only the classes `...Conformance` need pytest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagflow.testing.alone import build_context, build_plugin, opened
    from dagflow.testing.clock import ManualClock
    from dagflow.testing.conformance.checking import RULES, Finding, check_plugin, check_rule
    from dagflow.testing.conformance.rule import Breach, Rule
    from dagflow.testing.conformance.sample import Sample
    from dagflow.testing.conformance.suites import (
        ExporterConformance,
        SinkConformance,
        SourceConformance,
        StageConformance,
        TransportConformance,
        WorkerConformance,
    )
    from dagflow.testing.gated import GatedSink
    from dagflow.testing.harness import Harness, run_text
    from dagflow.testing.scripted import Answer, ScriptedWorker
    from dagflow.testing.staging import Run

_HOMES = {
    "alone": ("build_context", "build_plugin", "opened"),
    "clock": ("ManualClock",),
    "conformance.checking": ("RULES", "Finding", "check_plugin", "check_rule"),
    "conformance.rule": ("Breach", "Rule"),
    "conformance.sample": ("Sample",),
    "conformance.suites": (
        "ExporterConformance",
        "SinkConformance",
        "SourceConformance",
        "StageConformance",
        "TransportConformance",
        "WorkerConformance",
    ),
    "gated": ("GatedSink",),
    "harness": ("Harness", "run_text"),
    "scripted": ("Answer", "ScriptedWorker"),
    "staging": ("Run",),
}
_HOME_OF = {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names}

__all__ = list(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'dagflow.testing' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value
