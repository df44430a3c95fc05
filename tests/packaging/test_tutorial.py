"""The tutorial, step by step: its files are written, its commands run, and its outputs compared."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from .conftest import ROOT

PAGE = ROOT / "docs" / "tutorial-plugin.md"
STEP = re.compile(r"(?:<!-- (file|output)(?:: (\S+))? -->\n)?```(\w*)\n(.*?)```", re.DOTALL)


def steps():
    """Give the fenced blocks in order, each as (what it is, the file's name, its text)."""
    found = []
    for role, name, language, text in STEP.findall(PAGE.read_text(encoding="utf-8")):
        assert role or language == "sh", text
        found.append((role or "run", name, text))
    return found


def comparable(printed):
    """Leave out what differs between machines: how long it took, and what pip warns of."""
    lines = [line for line in printed.splitlines() if not line.startswith("WARNING: ")]
    return [re.sub(r"\b\d+\.\d+s\b", "TIME", line) for line in lines]


@pytest.mark.timeout(300)
def test_each_step_works_as_it_says(build_wheel, tmp_path):
    """From an empty folder to a wheel of one's own."""
    wheel, folder, printed = build_wheel(ROOT), tmp_path, ""
    for role, name, text in steps():
        if role == "file":
            (folder / name).write_text(text, encoding="utf-8")
        elif role == "output":
            assert comparable(printed) == comparable(text)
        else:
            script = text.replace("pip install --quiet dagflow-engine", f"pip install --quiet {wheel}")
            printed = run(script, folder)
            folder = tmp_path / "dagflow-mask-numbers"


def run(script, folder):
    """Run a step in a shell that has the environment of the first step; give what it printed."""
    activate = ". .venv/bin/activate\n" if (folder / ".venv").exists() else ""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", activate + script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}"
    return done.stdout


def test_the_steps_are_found():
    """Each fence is a file, an output or commands."""
    found = steps()
    assert len(found) == PAGE.read_text(encoding="utf-8").count("\n```") // 2
    assert [role for role, _, _ in found].count("file") == 4
