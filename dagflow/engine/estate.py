"""Estate: what a run hands over to the one that takes its place.

Workers, sinks of which there is one, and exporters that stand in both plans alike are not opened twice: the later run
borrows them while it opens the rest. When it takes over they become its own, and the earlier one borrows them until it
has drained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.graph.replacing import kept_exporters, kept_sinks, kept_workers
from dagflow.telemetry.instruments import Metrics

if TYPE_CHECKING:
    from dagflow.access.grants import Grants
    from dagflow.engine.wiring import Wiring
    from dagflow.graph.plan import Plan
    from dagflow.plugin import Plugin, Source


class Estate:
    """What goes over from one run to another.

    Attributes:
        wiring: that of the earlier run.
        workers, sinks, exporters: the names of those that go over.
    """

    def __init__(self, before: Plan, wiring: Wiring, plan: Plan) -> None:
        self.wiring = wiring
        self.workers = frozenset(kept_workers(before, plan))
        self.sinks = frozenset(kept_sinks(before, plan))
        self.exporters = frozenset(kept_exporters(before, plan))

    @property
    def grants(self) -> Grants | None:
        """What the tokens of the earlier run allow, if there are any."""
        return next((context.grants for _, context in self.wiring.plugins), None)

    def lend(self, plugin: Plugin, wiring: Wiring) -> None:
        """Put a plugin that goes over where the later run has its own."""
        context = next(context for other, context in self.wiring.plugins if other is plugin)
        wiring.plugins.append((plugin, context))
        wiring.borrowed.append(plugin)
        if context.name in self.wiring.metrics:
            wiring.metrics[context.name] = context.metrics

    def replaced(self, name: str, kind: type[Source]) -> Source | None:
        """Give the source whose place one of this name takes: one of the same class."""
        runner = self.wiring.sources.get(name)
        return runner.plugin if runner is not None and type(runner.plugin) is kind else None

    def forget(self) -> None:
        """Keep nothing of the earlier run, which has ended."""
        del self.wiring

    def hand_over(self, wiring: Wiring) -> None:
        """Make what goes over the later run's own, and have its sources take the place of the earlier ones."""
        before = self.wiring
        before.borrowed, wiring.borrowed = wiring.borrowed, []
        for name in (*self.workers, *self.sinks, *self.exporters):
            if name in before.metrics:
                before.metrics[name] = Metrics()  # what they have counted is told there
        for name in self.exporters:
            del before.exporters[name]
        for runner in wiring.sources.values():
            if (replaced := runner.plugin.context.replaces) is not None:
                runner.plugin.replace(replaced)
                runner.plugin.context.replaces = None
