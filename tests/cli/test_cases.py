"""Whole outputs of `dagflow validate`: one case for each diagnostic code.

A case is `cases/CODE.toml` with its expected output, `cases/CODE.txt`. A first line `# run: ...`
gives further arguments. `UPDATE_CASES=1 pytest tests/cli/test_cases.py` writes the outputs anew;
read the difference before you keep it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dagflow.config.codes import CODES

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer.testing import Result

CASES = Path(__file__).with_name("cases")


@pytest.mark.parametrize("code", CODES)
def test_whole_output(code: str, dagflow: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each code comes with its message, place and hint, and with the exit code of its severity."""
    monkeypatch.chdir(CASES)
    result = dagflow("validate", f"{code}.toml", *_arguments(CASES / f"{code}.toml"))
    expected = CASES / f"{code}.txt"
    if os.environ.get("UPDATE_CASES"):
        expected.write_text(result.output, encoding="utf-8")
    assert result.output == expected.read_text(encoding="utf-8")
    assert f"{CODES[code].severity}[{code}]: " in result.output
    assert result.exit_code == (78 if CODES[code].severity == "error" else 0)


def test_every_case_has_a_code() -> None:
    """No case outlives its code."""
    assert {path.stem for path in CASES.iterdir()} == set(CODES)


def _arguments(path: Path) -> list[str]:
    """Give what stands in the line `# run: ...`; the case of the missing file has none."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return lines[0].removeprefix("# run: ").split() if lines and lines[0].startswith("# run: ") else []
