"""The pytest classes run every rule, and the kit needs pytest for nothing else."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from broken_plugins import general, sinks, sources, transports, workers

from dagflow import testing
from dagflow.testing import (
    RULES,
    SinkConformance,
    SourceConformance,
    StageConformance,
    TransportConformance,
    WorkerConformance,
)


class TestSource(SourceConformance):
    """The rules for sources, as an author of one runs them."""

    @pytest.fixture
    def plugin(self):
        return sources.SOUND["careful"]


class TestStage(StageConformance):
    """A class alone is a sample, too."""

    @pytest.fixture
    def plugin(self):
        return general.Sound


class TestSink(SinkConformance):
    """The rules for sinks."""

    @pytest.fixture
    def plugin(self):
        return sinks.SOUND["lines"]


class TestWorker(WorkerConformance):
    """The scripted worker keeps the rules that it helps to test."""

    @pytest.fixture
    def plugin(self):
        return workers.SOUND["scripted"]


class TestTransport(TransportConformance):
    """The rules for transports."""

    @pytest.fixture
    def plugin(self):
        return transports.SOUND["memory"]


TESTS = Path(__file__).parents[1]

SUITE = """
    import pytest
    from broken_plugins.{module} import BROKEN
    from dagflow.testing import {kind}Conformance

    class TestBroken({kind}Conformance):
        @pytest.fixture
        def plugin(self):
            return BROKEN["{id}"]
"""


def run_pytest(folder, text):
    """Run pytest on a test file, away from this project; give its exit code and what it printed."""
    (folder / "test_it.py").write_text(textwrap.dedent(text))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", folder, folder]
    environment = {"PYTHONPATH": str(TESTS), "PATH": ""}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize(("module", "kind", "id"), [("stages", "Stage", "STAGE-2"), ("workers", "Worker", "WORKER-3")])
def test_a_suite_runs_each_rule_and_shows_what_was_found(tmp_path, module, kind, id):
    """One test a rule, named after it; the one that fails says why."""
    code, printed = run_pytest(tmp_path, SUITE.format(module=module, kind=kind, id=id))
    assert code == 1
    assert f"1 failed, {len(RULES[kind.lower()]) - 1} passed" in printed
    assert f"FAILED test_it.py::TestBroken::test_rule[{id}]" in printed
    assert "Breach: " in printed


def test_a_suite_without_its_fixture_says_so(tmp_path):
    """Forgetting it is an error, not a green run."""
    code, printed = run_pytest(
        tmp_path, "from dagflow.testing import StageConformance\nclass TestMine(StageConformance): pass"
    )
    assert code == 1
    assert "override the fixture `plugin` of `TestMine`" in printed


def test_the_kit_needs_no_pytest():
    """All names but the pytest classes can be had without it, and checking a plugin imports none."""
    names = [name for name in testing.__all__ if not name.endswith("Conformance")]
    code = f"import sys; sys.modules['pytest'] = None; from dagflow.testing import {', '.join(names)}"
    code += "; from dagflow.workers.echo import Echo; assert not [f for f in check_plugin(Echo) if f.breach]"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_are_all_there():
    """Each can be imported, is documented, and is listed once; other names are no attributes."""
    for name in testing.__all__:
        assert getattr(testing, name).__doc__
    assert len(set(testing.__all__)) == len(testing.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        testing.nope  # noqa: B018
