"""The plugin packages, built and installed in a clean environment, pass their own tests there."""

from __future__ import annotations

import json
import shutil

import pytest

from .conftest import ROOT, call

PLUGINS = sorted((ROOT / "plugins").glob("dagflow-*"))
NAMES = [plugin.name for plugin in PLUGINS]
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def scripts(build_wheel, install):
    """Install dagflow, all plugins and what their tests need, and give the folder of the commands."""
    wheels = [f"{build_wheel(plugin)}[test]" for plugin in PLUGINS]
    return install(build_wheel(ROOT), *wheels)


@pytest.fixture
def away(tmp_path):
    """Copy what stands beside a package, but not the package: what is imported is what was installed."""

    def copy(name):
        ignored = shutil.ignore_patterns("dagflow_*", "__pycache__", "dist")
        return shutil.copytree(ROOT / "plugins" / name, tmp_path / name, ignore=ignored)

    return copy


@pytest.mark.parametrize("name", NAMES)
def test_a_plugin_passes_its_tests_where_it_is_installed(scripts, away, name):
    """Among them are all rules of the contract."""
    printed = call(scripts / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=away(name))
    assert int(printed.splitlines()[-1].split()[0]) > 25
    assert " passed" in printed.splitlines()[-1]


def test_every_plugin_is_found(scripts, tmp_path):
    """`dagflow plugins list` shows their types and packages, and none is broken."""
    printed = call(scripts / "dagflow", "plugins", "list", cwd=tmp_path)
    assert "broken" not in printed
    for kind, type_name, package in [
        ("stage", "shout", "dagflow-shout"),
        ("stage", "near-duplicates", "dagflow-near-duplicates"),
        ("source", "parquet", "dagflow-parquet"),
        ("sink", "parquet", "dagflow-parquet"),
    ]:
        assert any(line.split()[:3] == [kind, type_name, package] for line in printed.splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_the_pipeline_of_a_plugin_runs(scripts, away, name):
    """The file beside each package works as its comment says."""
    folder = away(name)
    for script in folder.glob("make_*.py"):
        call(scripts / "python", script.name, cwd=folder)
    call(scripts / "dagflow", "run", "--quiet", "--report", "report.json", "pipeline.toml", cwd=folder)
    report = json.loads((folder / "report.json").read_text())
    assert report["outcomes"]["delivered"] > 0
    assert report["outcomes"]["failed"] == 0


def test_a_plugin_is_checked_from_the_command_line(scripts, tmp_path):
    """It is found by its type, like a built-in."""
    printed = call(scripts / "dagflow", "plugins", "check", "near-duplicates", cwd=tmp_path)
    assert printed.splitlines()[-1].endswith(" 0 broken")


def test_a_broken_plugin_leaves_the_others_alone(build_wheel, install, tmp_path):
    """One that needs another contract is refused by name; pipelines that do not name it run."""
    call("cp", "-r", ROOT / "plugins" / "dagflow-shout", tmp_path / "broken", cwd=tmp_path)
    module = tmp_path / "broken" / "dagflow_shout.py"
    module.write_text(module.read_text().replace("contract = 1", "contract = 2"))
    scripts = install(build_wheel(ROOT), build_wheel(tmp_path / "broken"))
    call(scripts / "dagflow", "init", "fine.toml", cwd=tmp_path)
    call(scripts / "dagflow", "run", "--quiet", "fine.toml", cwd=tmp_path)
    with pytest.raises(AssertionError, match="is written for contract 2, and this dagflow keeps contract 1"):
        call(scripts / "dagflow", "run", "broken/pipeline.toml", cwd=tmp_path)
