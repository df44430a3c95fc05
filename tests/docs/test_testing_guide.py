"""The guide on testing: its examples are tests, and all of them pass."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dagflow.testing import RULES

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guide" / "32-testing.md").read_text(encoding="utf-8")
CONTRACT = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")


def python_of(page):
    """Put the Python blocks of a page together."""
    return "\n\n".join(re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize(
    ("page", "path", "count"),
    [
        (GUIDE, [], 3 + len(RULES["worker"])),
        (
            re.sub(r"^```python\nclass Shout.*?^```", "", CONTRACT, flags=re.DOTALL | re.MULTILINE),
            ["dagflow-shout"],
            len(RULES["stage"]),
        ),
    ],
    ids=["guide", "contract"],
)
def test_the_examples_are_tests_that_pass(tmp_path, page, path, count):
    """As pytest runs them, in the order of the page."""
    (tmp_path / "test_page.py").write_text(python_of(page), encoding="utf-8")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\npythonpath = " + " ".join(str(ROOT / "plugins" / name) for name in path)
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert f"{count} passed" in done.stdout, done.stdout
    assert done.returncode == 0


def test_public_names_are_explained():
    """Every name of `dagflow.testing` that the guide is about stands on it."""
    for name in ("run_text", "Harness", "ScriptedWorker", "Answer", "GatedSink", "ManualClock", "Sample"):
        assert f"`{name}`" in GUIDE
