"""`dagflow new plugin` writes a package whose tests pass as they are."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from dagflow.cli.new import NewKind
from dagflow.testing import RULES
from dagflow.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer.testing import Result

KINDS = [kind.value for kind in NewKind]


def call(*command, cwd):
    """Run a command in a folder; its exit code and what it printed."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_the_tests_of_a_new_package_pass(dagflow: Callable[..., Result], tmp_path, kind: str) -> None:
    """Each rule of the kind is among them; the linter finds nothing."""
    assert dagflow("new", "plugin", "try-out", "--kind", kind, "--dir", tmp_path).exit_code == 0
    folder = tmp_path / "dagflow-try-out"
    code, printed = call(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder)
    assert code == 0, printed
    assert f"{len(RULES[kind]) + 1} passed" in printed
    code, printed = call(
        sys.executable, "-m", "ruff", "check", "--no-cache", "--isolated", "--select=E4,E7,E9,F,I,B,UP", ".", cwd=folder
    )
    assert code == 0, printed


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_is_well_described(dagflow: Callable[..., Result], tmp_path, kind: str) -> None:
    """Its entry point names the class, and it asks for a dagflow such as this one."""
    result = dagflow("new", "plugin", "try_out", "--kind", kind, "--dir", tmp_path)
    folder = tmp_path / "dagflow-try_out"
    assert result.stdout.splitlines()[-1] == f"next: cd {folder} && pip install -e '.[test]' && pytest"
    written = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert written == ["README.md", "dagflow_try_out.py", "pipeline.toml", "pyproject.toml", "tests/test_try_out.py"]
    told = [line.removeprefix(f"wrote {folder}/") for line in result.stdout.splitlines()[:-1]]
    assert sorted(told) == written
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {f"dagflow.{kind}s": {"try_out": "dagflow_try_out:TryOut"}}
    (engine,) = map(Requirement, project["dependencies"])
    assert engine.name == "dagflow-engine"
    assert __version__ in engine.specifier
    assert "9.0.0" not in engine.specifier
    assert "$" not in (folder / "dagflow_try_out.py").read_text()


def test_the_prefix_may_be_given(dagflow: Callable[..., Result], tmp_path) -> None:
    """The name of the package means the plugin in it."""
    assert dagflow("new", "plugin", "dagflow-loud", "--dir", tmp_path).exit_code == 0
    assert "class Loud(Stage):" in (tmp_path / "dagflow-loud" / "dagflow_loud.py").read_text()


@pytest.mark.parametrize("name", ["none", "record", "stage", "options", "test-contract"])
def test_a_name_that_python_or_the_template_needs_works_too(
    dagflow: Callable[..., Result], tmp_path, name: str
) -> None:
    """The class is called otherwise."""
    assert dagflow("new", "plugin", name, "--dir", tmp_path).exit_code == 0
    code, printed = call(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path / f"dagflow-{name}"
    )
    assert code == 0, printed


def test_nothing_is_overwritten(dagflow: Callable[..., Result], tmp_path) -> None:
    """A folder of that name is left as it is."""
    folder = tmp_path / "dagflow-mine"
    folder.mkdir()
    result = dagflow("new", "plugin", "mine", "--dir", tmp_path)
    assert result.exit_code == 2
    assert f"`{folder}` exists; nothing is overwritten" in result.output
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["", "Shout", "2fast", "a b", "../up", "a--b", "-x-", "ünder", "dagflow-"])
def test_a_bad_name_is_refused(dagflow: Callable[..., Result], tmp_path, name: str) -> None:
    """Nothing is written."""
    assert dagflow("new", "plugin", "--dir", tmp_path, "--", name).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_is_refused(dagflow: Callable[..., Result], tmp_path) -> None:
    """Two packages with one name would be ambiguous; another kind may have it."""
    result = dagflow("new", "plugin", "fill", "--dir", tmp_path)
    assert result.exit_code == 2
    assert "`toys` offers a stage `fill` already; choose another name" in result.output
    assert dagflow("new", "plugin", "fill", "--kind", "sink", "--dir", tmp_path).exit_code == 0


def test_a_folder_that_cannot_be_written_is_told(dagflow: Callable[..., Result], tmp_path) -> None:
    """With the system's reason."""
    (tmp_path / "file").write_text("")
    result = dagflow("new", "plugin", "x", "--dir", tmp_path / "file" / "below")
    assert result.exit_code == 2
    assert "cannot be written: Not a directory" in result.output
