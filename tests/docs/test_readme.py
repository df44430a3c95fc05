"""The README: its TOML validates, its program runs, and its questions are counted right."""

import re
import subprocess
import sys
from pathlib import Path

from dagflow.compile import compile_text

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language):
    """The first fenced block of a language."""
    return re.search(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)[1]


def test_its_pipeline_is_valid_and_its_program_runs_it(tmp_path):
    """The two examples belong together."""
    assert compile_text(block("toml"), environ={}).warnings == ()
    (tmp_path / "pipeline.toml").write_text(block("toml"))
    program = [sys.executable, "-c", block("python")]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Answer in one sentence: Why is the sky blue?" in done.stdout


def test_it_counts_the_questions():
    """The number of questions is the number of lines."""
    lines = (ROOT / "pipelines" / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    assert f"answers {len(lines)} questions" in README


def test_it_has_the_two_commands():
    """CI takes them from here."""
    assert [f"<!-- command: {name} -->\n```sh\n" in README for name in ("run", "test")] == [True, True]
