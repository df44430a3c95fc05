"""The rules themselves: what is sound keeps them all, and each broken plugin breaks just the one."""

from __future__ import annotations

import subprocess
import sys

import pytest
from broken_plugins import exporters, general, sinks, sources, stages, transports, workers
from broken_plugins.variants import VARIANTS

from dagflow.testing import RULES, Breach, check_plugin, check_rule
from dagflow.testing.conformance import exporters as exporter_rules
from dagflow.testing.conformance import nodes, plugins
from dagflow.testing.conformance import sinks as sink_rules
from dagflow.testing.conformance import sources as source_rules
from dagflow.testing.conformance import stages as stage_rules
from dagflow.testing.conformance import transports as transport_rules
from dagflow.testing.conformance import workers as worker_rules
from dagflow.testing.conformance.rule import Rule

SAMPLES = (general, stages, sources, sinks, workers, transports, exporters)
SOUND = {f"{module.__name__}-{name}": sample for module in SAMPLES for name, sample in module.SOUND.items()}
BROKEN = {id: sample for module in SAMPLES for id, sample in module.BROKEN.items()}
HOMES = {
    plugins: plugins.PLUGIN_RULES,
    nodes: nodes.NODE_RULES,
    source_rules: source_rules.SOURCE_RULES,
    stage_rules: stage_rules.STAGE_RULES,
    sink_rules: sink_rules.SINK_RULES,
    worker_rules: worker_rules.WORKER_RULES,
    transport_rules: transport_rules.TRANSPORT_RULES,
    exporter_rules: exporter_rules.EXPORTER_RULES,
}
ALL = {rule.id: rule for rules in RULES.values() for rule in rules}


@pytest.mark.parametrize("name", SOUND)
def test_what_is_sound_keeps_every_rule(name):
    """No rule complains of a plugin that has no fault."""
    assert [f"{f.rule.id}: {f.breach}" for f in check_plugin(SOUND[name]) if f.breach] == []


@pytest.mark.parametrize("id", BROKEN)
def test_a_broken_plugin_breaks_just_its_rule(id):
    """One fault is found once, where it belongs."""
    assert [f.rule.id for f in check_plugin(BROKEN[id]) if f.breach] == [id]
    with pytest.raises(Breach):
        check_rule(ALL[id], BROKEN[id])


def test_each_rule_has_a_broken_plugin():
    """Otherwise nobody would know whether it ever complains."""
    assert sorted(BROKEN) == sorted(ALL)


@pytest.mark.parametrize("home", HOMES, ids=[home.__name__.rpartition(".")[2] for home in HOMES])
def test_each_rule_that_is_written_is_listed(home):
    """A rule that nobody runs is none; numbers go up without a gap."""
    written = [value for value in vars(home).values() if isinstance(value, Rule)]
    assert list(HOMES[home]) == written
    prefix = written[0].id.partition("-")[0]
    assert [rule.id for rule in written] == [f"{prefix}-{number}" for number in range(1, len(written) + 1)]


def test_each_kind_gets_the_rules_of_all():
    """The rules for a kind are those for all plugins, those for all nodes where it is one, and its own."""
    common, node = len(plugins.PLUGIN_RULES), len(nodes.NODE_RULES)
    own = {"source": 10, "stage": 12, "sink": 13, "worker": 10, "transport": 8, "exporter": 3}
    extra = {kind: common + (node if kind in ("source", "stage", "sink") else 0) for kind in own}
    assert {kind: len(rules) for kind, rules in RULES.items()} == {kind: own[kind] + extra[kind] for kind in own}
    assert len(ALL) == common + node + sum(own.values())


def test_check_plugin_runs_every_rule(monkeypatch):
    """Each check is awaited once, also after one that complained."""
    ran = []

    def spied(rule):
        async def check(trial):
            ran.append(rule.id)
            raise Breach("no")

        return Rule(rule.id, rule.text, check)

    for kind, rules in list(RULES.items()):
        monkeypatch.setitem(RULES, kind, tuple(map(spied, rules)))
        sample = {**general.SOUND, "source": sources.SOUND["list"], "sink": sinks.SOUND["lines"]}.get(kind)
        others = {"worker": workers.SOUND["plain"], "transport": transports.SOUND["memory"]}
        sample = sample or (others | {"exporter": exporters.SOUND["plain"]})[kind]
        ran.clear()
        found = list(check_plugin(sample))
        assert ran == [rule.id for rule in rules] == [f.rule.id for f in found if f.breach == "no"]


@pytest.mark.parametrize(("id", "sample"), VARIANTS, ids=[sample.cls.__name__ for _, sample in VARIANTS])
def test_other_ways_to_break_a_rule_are_found_too(id, sample):
    """A rule looks at more than one thing, and at every form that a method may have."""
    with pytest.raises(Breach):
        check_rule(ALL[id], sample)


def test_a_plugin_that_ignores_every_cancellation_holds_nobody_up():
    """What never ends is left behind, and what was found is told."""
    code = """if True:
        import asyncio
        from dagflow import Stage
        from dagflow.testing import Sample, check_plugin

        class Immortal(Stage):
            async def process(self, record):
                while True:
                    try:
                        await asyncio.sleep(60)
                    except asyncio.CancelledError:
                        pass

        print(*[f.rule.id for f in check_plugin(Sample(Immortal, patience_s=0.02)) if f.breach])
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    assert "STAGE-9" in done.stdout
