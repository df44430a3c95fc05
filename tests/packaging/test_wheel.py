"""The built wheel, installed in a clean environment and used away from the source tree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import ROOT, call


@pytest.fixture(scope="module")
def scripts(build_wheel, install):
    """Install dagflow alone, and give the folder of its commands."""
    wheel = build_wheel(ROOT)
    assert wheel.name.startswith("dagflow_engine-")
    return install(wheel)


@pytest.mark.timeout(300)
def test_the_wheel_runs_away_from_the_source(scripts, tmp_path):
    """A newcomer's `init` and `run` work with nothing but the wheel."""
    call(scripts / "dagflow", "init", "p.toml", cwd=tmp_path)
    call(scripts / "dagflow", "validate", "p.toml", cwd=tmp_path)
    call(scripts / "dagflow", "run", "p.toml", "--report", "r.json", cwd=tmp_path)
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["accepted"] == report["outcomes"]["delivered"] > 0


@pytest.mark.timeout(300)
def test_the_wheel_carries_the_package_only(scripts, tmp_path):
    """It imports from site-packages, has a type marker, and does not bring tests along."""
    code = "import dagflow, pathlib; print(pathlib.Path(dagflow.__file__).parent)"
    package = Path(call(scripts / "python", "-c", code, cwd=tmp_path).strip())
    assert ROOT not in package.parents
    assert (package / "py.typed").exists()
    page = ROOT / "dagflow" / "admin" / "page"
    assert {file.name for file in (package / "admin" / "page").iterdir()} == {file.name for file in page.iterdir()}
    assert not (package.parent / "tests").exists()


@pytest.mark.timeout(300)
def test_the_kit_works_without_pytest(scripts, tmp_path):
    """Checking a plugin and beginning a new one need nothing that the wheel does not bring."""
    call(scripts / "dagflow", "plugins", "check", "echo", cwd=tmp_path)
    call(scripts / "dagflow", "new", "plugin", "mine", cwd=tmp_path)
    assert (tmp_path / "dagflow-mine" / "dagflow_mine.py").exists()
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('pytest') is not None)"
    call(scripts / "python", "-c", code, cwd=tmp_path)
