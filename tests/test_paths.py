"""Paths as text."""

from pathlib import Path

from dagflow.paths import name_of


def test_names_are_text() -> None:
    """Whatever bytes a file system keeps."""
    assert name_of(Path("a") / "grün.md") == "a/grün.md"
    assert name_of("b\udcff.md") == "b\ufffd.md"
