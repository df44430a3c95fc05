"""The packages under `plugins/` are as third parties would write them: public names only, and well described."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

import dagflow
from dagflow import registry, testing
from dagflow.cli import app

ROOT = Path(__file__).parents[2]
PLUGINS = sorted((ROOT / "plugins").glob("dagflow-*"))
MODULES = [path for plugin in PLUGINS for path in plugin.rglob("*.py") if "__pycache__" not in path.parts]
PUBLIC = {"dagflow": set(dagflow.__all__), "dagflow.testing": set(testing.__all__)}


def name_of(path):
    """Name a path in a test's id."""
    return str(path.relative_to(ROOT / "plugins"))


def test_there_are_three():
    """One to copy, one that computes something, and one that bridges to a library."""
    assert len(PLUGINS) >= 3


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_public_names_are_used(path):
    """What a module imports from dagflow stands in `dagflow.__all__` or `dagflow.testing.__all__`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "dagflow":
            assert {alias.name for alias in node.names} <= PUBLIC.get(node.module, set()), node.module
        elif isinstance(node, ast.Import):
            assert not [alias.name for alias in node.names if alias.name.startswith("dagflow.")]


@pytest.mark.parametrize("plugin", PLUGINS, ids=name_of)
def test_a_package_is_well_described(plugin):
    """It is named after its folder, depends on this engine within bounds, and has README, pipeline and tests."""
    project = tomllib.loads((plugin / "pyproject.toml").read_text())["project"]
    assert project["name"] == plugin.name
    requirements = {one.name: one for one in map(Requirement, project["dependencies"])}
    assert dagflow.__version__ in requirements["dagflow-engine"].specifier
    assert "99" not in requirements["dagflow-engine"].specifier
    assert all(group.startswith("dagflow.") for group in project["entry-points"])
    assert (plugin / "README.md").read_text().startswith(f"# {plugin.name}\n")
    assert (plugin / "pipeline.toml").read_text().startswith("# ")
    assert list((plugin / "tests").glob("test_*.py"))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_are_small_and_say_what_they_are(path):
    """The rules of the house hold here, too."""
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text))
    assert text.count("\n") <= 300


@pytest.mark.parametrize("plugin", PLUGINS, ids=name_of)
def test_a_package_passes_its_tests(plugin):
    """Here with what is installed for development; `tests/packaging` does so with wheels."""
    if plugin.name == "dagflow-parquet":
        pytest.importorskip("pyarrow")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=plugin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_style():
    """Ruff finds nothing, and would format nothing."""
    for arguments in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--no-cache", "plugins"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_smallest_is_what_the_command_writes(tmp_path, monkeypatch):
    """`dagflow new plugin shout` and `plugins/dagflow-shout` are the same."""
    monkeypatch.setattr(registry, "_installed", lambda groups: [])
    assert CliRunner().invoke(app, ["new", "plugin", "shout", "--dir", str(tmp_path)]).exit_code == 0
    written = {p.relative_to(tmp_path): p.read_text() for p in tmp_path.rglob("*") if p.is_file()}
    kept = {p: (ROOT / "plugins" / p).read_text() for p in written}
    assert written == kept
