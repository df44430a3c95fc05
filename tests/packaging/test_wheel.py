"""The built wheel, installed in a clean environment and used away from the source tree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def call(*command, cwd, **options):
    """Run a command and give its output; its errors are shown if it fails."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """Build the wheel, install it with what it depends on, and give the folder of its commands."""
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, cwd=folder)
    [wheel] = folder.glob("*.whl")
    assert wheel.name.startswith("dagflow_engine-")
    venv.create(folder / "venv", with_pip=True)
    call(folder / "venv/bin/pip", "install", "--quiet", wheel, cwd=folder)
    return folder / "venv" / "bin"


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
    assert not (package.parent / "tests").exists()
