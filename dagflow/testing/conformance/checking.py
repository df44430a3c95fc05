"""Checking: all rules for a kind of plugins, tried one by one on a sample."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dagflow.testing.conformance.exporters import EXPORTER_RULES
from dagflow.testing.conformance.nodes import NODE_RULES
from dagflow.testing.conformance.plugins import PLUGIN_RULES
from dagflow.testing.conformance.rule import Breach
from dagflow.testing.conformance.sample import Sample
from dagflow.testing.conformance.sinks import SINK_RULES
from dagflow.testing.conformance.sources import SOURCE_RULES
from dagflow.testing.conformance.stages import STAGE_RULES
from dagflow.testing.conformance.transports import TRANSPORT_RULES
from dagflow.testing.conformance.trial import Trial
from dagflow.testing.conformance.workers import WORKER_RULES

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from dagflow.plugin import Plugin
    from dagflow.testing.conformance.rule import Rule

RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "source": PLUGIN_RULES + NODE_RULES + SOURCE_RULES,
    "stage": PLUGIN_RULES + NODE_RULES + STAGE_RULES,
    "sink": PLUGIN_RULES + NODE_RULES + SINK_RULES,
    "worker": PLUGIN_RULES + WORKER_RULES,
    "transport": PLUGIN_RULES + TRANSPORT_RULES,
    "exporter": PLUGIN_RULES + EXPORTER_RULES,
}
"""All rules for each kind, in the order of `docs/contract.md`."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one rule; `breach` says what was found where the plugin does not keep it, else None."""

    rule: Rule
    breach: str | None


def check_rule(rule: Rule, plugin: Sample | type[Plugin]) -> None:
    """Try one rule on a plugin, in a folder and an event loop of its own.

    Raises:
        Breach: the plugin does not keep it.
    """
    # A thread that was left behind may still write into the folder while it is removed.
    with tempfile.TemporaryDirectory(prefix="dagflow-", ignore_cleanup_errors=True) as folder:
        trial = Trial(Sample.of(plugin), Path(folder))
        trial.prepare()
        _run(rule.check(trial), trial.sample.patience_s)


def _run(work: Coroutine[Any, Any, None], patience_s: float) -> None:
    """Run a check in a loop of its own. Unlike `asyncio.run`, leave behind what does not end when it is cancelled."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.run_until_complete(_clear(patience_s))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _clear(patience_s: float) -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=patience_s)


def check_plugin(plugin: Sample | type[Plugin]) -> Iterator[Finding]:
    """Try all rules for a plugin's kind, and give each with what was found."""
    sample = Sample.of(plugin)
    for rule in RULES[sample.kind]:
        try:
            check_rule(rule, sample)
        except Breach as breach:
            yield Finding(rule, str(breach))
        else:
            yield Finding(rule, None)
