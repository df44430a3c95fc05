"""The rules as pytest classes: derive one, override its fixture `plugin`, and each rule is a test.

Needs pytest, which dagflow itself does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dagflow.testing.conformance.checking import RULES, check_rule

if TYPE_CHECKING:
    from dagflow.plugin import Plugin
    from dagflow.testing.conformance.rule import Rule
    from dagflow.testing.conformance.sample import Sample


class _Conformance:
    """What the classes share: the fixture to override."""

    @pytest.fixture
    def plugin(self) -> Sample | type[Plugin]:
        """Give what is tried: a class, or a `Sample` of it. Override this."""
        raise NotImplementedError(f"override the fixture `plugin` of `{type(self).__name__}`")


def _each(kind: str) -> Any:
    rules = RULES[kind]
    return pytest.mark.parametrize("rule", rules, ids=[rule.id for rule in rules])


class SourceConformance(_Conformance):
    """The rules for sources."""

    @_each("source")
    def test_rule(self, rule: Rule, plugin: Any) -> None:
        """The source keeps the rule."""
        check_rule(rule, plugin)


class StageConformance(_Conformance):
    """The rules for stages."""

    @_each("stage")
    def test_rule(self, rule: Rule, plugin: Any) -> None:
        """The stage keeps the rule."""
        check_rule(rule, plugin)


class SinkConformance(_Conformance):
    """The rules for sinks."""

    @_each("sink")
    def test_rule(self, rule: Rule, plugin: Any) -> None:
        """The sink keeps the rule."""
        check_rule(rule, plugin)


class WorkerConformance(_Conformance):
    """The rules for model workers."""

    @_each("worker")
    def test_rule(self, rule: Rule, plugin: Any) -> None:
        """The worker keeps the rule."""
        check_rule(rule, plugin)


class ExporterConformance(_Conformance):
    """The rules for exporters."""

    @_each("exporter")
    def test_rule(self, rule: Rule, plugin: Any) -> None:
        """The exporter keeps the rule."""
        check_rule(rule, plugin)


class TransportConformance(_Conformance):
    """The rules for transports."""

    @_each("transport")
    def test_rule(self, rule: Rule, plugin: Any) -> None:
        """The transport keeps the rule."""
        check_rule(rule, plugin)
