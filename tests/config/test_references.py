"""References to variables and files, and what secrets show of them."""

from pathlib import Path
from typing import Any

import pytest

from dagflow.config.references import MASK, has_reference, literals, mask_literals, resolve

ENVIRON = {"NAME": "value", "EMPTY": "", "TRICKY": "${env:NAME} $${"}


def resolved(value: Any, base: Path = Path()) -> Any:
    """Resolve one value, which must have no wrong reference."""
    resolution = resolve({"key": value}, ENVIRON, base)
    assert resolution.diagnostics == []
    return resolution.tables["key"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${env:NAME}", "value"),
        ("a ${env:NAME} b ${env:NAME}", "a value b value"),
        ("${env:UNSET:-default}", "default"),
        ("${env:UNSET:-}", ""),
        ("${env:EMPTY:-default}", "default"),
        ("${env:EMPTY}", ""),
        ("$${env:NAME}", "${env:NAME}"),
        ("$NAME and ${{ price }} and $5", "$NAME and ${{ price }} and $5"),
        ("${env:TRICKY}", "${env:NAME} $${"),
        (["${env:NAME}", {"x": "${env:NAME}"}, 3], ["value", {"x": "value"}, 3]),
    ],
)
def test_references_are_replaced(text: Any, expected: Any) -> None:
    """Anywhere in a value, several times, with defaults; what comes in is not looked at again."""
    assert resolved(text) == expected


def test_a_file_gives_its_text_without_its_last_line_end(tmp_path: Path) -> None:
    """One line end goes, others stay; the path is relative to the base."""
    (tmp_path / "key.txt").write_bytes(b"secret\r\n")
    (tmp_path / "prompt.txt").write_text("one\n\n")
    assert resolved("<${file:key.txt}>", tmp_path) == "<secret>"
    assert resolved("${file:prompt.txt}", tmp_path) == "one\n"


@pytest.mark.parametrize(
    ("text", "code", "hint"),
    [
        ("${env:UNSET}", "unset-variable", "set it, or give a default: `${env:UNSET:-default}`"),
        ("${env:NAMES}", "unset-variable", "did you mean `NAME`?"),
        ("${file:no-such-file}", "unreadable-reference", "paths are relative to the file that contains them"),
        ("${file:/no/such/file}", "unreadable-reference", None),
        ("${NAME}", "bad-reference", "write `${env:NAME}` for an environment variable; `$${` stands for the text `${`"),
        ("${ENV:NAME}", "bad-reference", "write `${env:NAME}`"),
        ("${env: NAME }", "bad-reference", "write `${env:NAME}`"),
        ("${env:NAME", "bad-reference", "it has no closing `}`; `$${` stands for the text `${`"),
        (
            "${vault:NAME}",
            "bad-reference",
            "write `${env:NAME}`, `${env:NAME:-default}` or `${file:PATH}`; `$${` stands for the text `${`",
        ),
    ],
)
def test_a_reference_that_leads_nowhere_is_told(text: str, code: str, hint: str | None) -> None:
    """Each with its key and a hint; the value stays as it was."""
    resolution = resolve({"key": text}, ENVIRON, Path())
    assert [(d.code, d.key, d.hint) for d in resolution.diagnostics] == [(code, ("key",), hint)]
    assert resolution.tables == {"key": text}


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    """Neither bytes nor directories are text."""
    (tmp_path / "bytes").write_bytes(b"\xff")
    (tmp_path / "folder").mkdir()
    for name in ("bytes", "folder"):
        assert [d.code for d in resolve({"k": f"${{file:{name}}}"}, {}, tmp_path).diagnostics] == [
            "unreadable-reference"
        ]


def test_the_written_text_is_kept_by_key() -> None:
    """Only values with a reference are remembered, not those with an escape."""
    assert resolve({"a": {"b": ["${env:NAME}"]}, "c": "$${", "d": "x"}, ENVIRON, Path()).written == {
        ("a", "b", 0): "${env:NAME}"
    }


@pytest.mark.parametrize(
    ("text", "shown", "given_away"),
    [
        ("sk-1234", MASK, {"sk-1234"}),
        ("${env:KEY}", "${env:KEY}", set()),
        ("Bearer ${env:KEY}", "Bearer ${env:KEY}", set()),
        ("${env:KEY:-sk-1234}", f"${{env:KEY:-{MASK}}}", {"sk-1234"}),
        ("${env:KEY:-}", "${env:KEY:-}", set()),
        ("", MASK, set()),
    ],
)
def test_secrets_show_references_only(text: str, shown: str, given_away: set[str]) -> None:
    """Literal text and defaults are masked, references are not."""
    assert mask_literals(text) == shown
    assert literals(text) == given_away


def test_an_escape_is_no_reference() -> None:
    """`$${` alone refers to nothing."""
    assert not has_reference("$${env:X}")
    assert has_reference("$${${env:X}")
