"""Reading a file: bytes, overrides and references become a document."""

from pathlib import Path

import pytest

from dagflow.config.diagnostics import Diagnostic
from dagflow.config.document import read_document, read_text
from dagflow.errors import ConfigError


def refused(path: Path) -> Diagnostic:
    """Read a file that cannot be read, and give the diagnostic."""
    with pytest.raises(ConfigError) as caught:
        read_text(path)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    """Some editors put one before the text."""
    (tmp_path / "p.toml").write_bytes(b"\xef\xbb\xbfa = 1")
    assert read_text(tmp_path / "p.toml") == "a = 1"


def test_what_is_no_text_file_is_told(tmp_path: Path) -> None:
    """A missing file, a directory and bytes each have their reason."""
    (tmp_path / "bytes.toml").write_bytes(b"a = '\xff'")
    reasons = {name: refused(tmp_path / name).message for name in ("none.toml", "", "bytes.toml")}
    assert reasons["none.toml"].endswith("cannot be read: it does not exist")
    assert reasons[""].endswith("cannot be read: is a directory")
    assert reasons["bytes.toml"].endswith("cannot be read: byte 5 is not UTF-8; TOML files are UTF-8 text")
    assert refused(tmp_path / "none.toml").path == str(tmp_path / "none.toml")


def test_overrides_come_before_references() -> None:
    """An override may hold a reference; both texts are kept."""
    document = read_document("a = 1\nb = '${env:X}'", Path("f/p.toml"), ["a=${env:X}"], {"X": "x"})
    assert document.tables == {"a": "x", "b": "x"}
    assert document.written == {"a": "${env:X}", "b": "${env:X}"}
    assert document.substituted == {("a",): "${env:X}", ("b",): "${env:X}"}
    assert document.base == Path("f")


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an environment given, that of the process is read."""
    monkeypatch.setenv("DAGFLOW_TEST", "x")
    assert read_document("a = '${env:DAGFLOW_TEST}'", None).tables == {"a": "x"}


def test_the_last_override_of_a_value_counts() -> None:
    """Values below an override come from it too."""
    document = read_document("", None, ["a.b=1", "a={ b = 2 }", "c=3"], {})
    assert document.tables == {"a": {"b": 2}, "c": 3}
    override = document.override_of(("a", "b"))
    assert override is not None
    assert override.text == "{ b = 2 }"
    assert document.override_of(("a", "x")) is override
    assert document.override_of(("d",)) is None


def test_a_table_comes_from_the_override_that_made_it() -> None:
    """What is amiss with a table that does not stand in the file is amiss with the option."""
    document = read_document("[a.b]\nx = 1", None, ["a.c.y=1", "a.c.z=2", "a.b.x=3"], {})
    made = document.override_of(("a", "c"))
    assert made is not None
    assert made.typed == "a.c.y"
    assert document.override_of(("a", "b")) is None


def test_a_wrong_override_hides_its_value() -> None:
    """The value may be a secret, and is not at fault."""
    with pytest.raises(ConfigError) as caught:
        read_document("a = 1", None, ["a.b=sk-123"], {})
    assert [(d.code, d.path) for d in caught.value.diagnostics] == [("bad-override", "--set a.b=...")]
