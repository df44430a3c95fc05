"""Wheels of dagflow and of its plugins, and clean environments to install them in."""

from __future__ import annotations

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


@pytest.fixture(scope="session")
def build_wheel(tmp_path_factory):
    """Build the wheel of a project, once."""
    built = {}

    def build(project):
        if project not in built:
            folder = tmp_path_factory.mktemp("wheel")
            call(sys.executable, "-m", "build", "--wheel", "--outdir", folder, project, cwd=folder)
            [built[project]] = folder.glob("*.whl")
        return built[project]

    return build


@pytest.fixture(scope="session")
def install(tmp_path_factory):
    """Install wheels and what they depend on in a new environment, and give the folder of its commands."""

    def install(*wheels):
        folder = tmp_path_factory.mktemp("environment")
        venv.create(folder, with_pip=True)
        call(folder / "bin/pip", "install", "--quiet", *wheels, cwd=folder)
        return folder / "bin"

    return install
