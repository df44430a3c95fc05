"""Text that is no TOML: the words and place of tomllib, and what to do."""

from pathlib import Path

import pytest

from dagflow.config.diagnostics import Diagnostic
from dagflow.config.syntax import parse_toml
from dagflow.errors import ConfigError


def finding(text: str) -> Diagnostic:
    """Parse wrong text and give its only diagnostic."""
    with pytest.raises(ConfigError) as caught:
        parse_toml(text, Path("p.toml"))
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


def test_place_and_line_are_shown() -> None:
    """Line and column are those of the character that does not fit."""
    diagnostic = finding('a = 1\nb = "x" y\n')
    assert (diagnostic.code, diagnostic.path, diagnostic.line, diagnostic.column) == ("toml-syntax", "p.toml", 2, 9)
    assert diagnostic.source_line == 'b = "x" y'


def test_the_end_of_the_text_is_a_place_too() -> None:
    """What is never closed is told at the end."""
    diagnostic = finding('a = """x\ny')
    assert (diagnostic.line, diagnostic.column, diagnostic.source_line) == (2, 2, "y")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a = echo", 'put text in quotes: `"echo"`'),
        ("a = True", "write `true`"),
        ("a = null", "TOML has no null: leave the key out"),
        ("a = -", "a value is text in quotes, a number, `true`, `false`, an array or a table"),
        ("a = [\n1\n2\n]", "close the array with `]`, and put a comma between its elements"),
        ("a = [\n1,\n[b.c]\n", "an array above is not closed: it lacks its `]`"),
        ("a: 1", "a key is followed by `=` and its value"),
        ('a = "x\n', 'close the quote, or use three quotes (""") for text of several lines'),
        ('a = "C:\\data"', "write `\\\\`, or put the text in single quotes"),
        ('a = "C:\\Users"', "write `\\\\`, or put the text in single quotes"),
        ("a = “x”", 'write straight quotes: `"x"`'),
        ("a = 1,", "remove the comma: only the elements of arrays and inline tables are separated by commas"),
        ('{"a": 1}', "a pipeline file is TOML, not JSON; `dagflow init` writes one to begin with"),
        ("a = { b = 1,\n c = 2 }", "an inline table `{ ... }` stands on one line, without a comma at its end"),
        ("a = { b = 1, }", "an inline table `{ ... }` stands on one line, without a comma at its end"),
        ("a = 1\na = 2", "the same key stands twice in this table; remove one"),
        ("[s.x]\n[[s]]", "`s` stands for something else already; named tables are `[s.NAME]`"),
        ("a = 20s", "put text in quotes, and each key on a line of its own"),
        ("[a]\n[a]", "merge the two, or give one another name"),
    ],
)
def test_frequent_slips_have_a_hint(text: str, hint: str) -> None:
    """The hint comes from what stands at the place."""
    assert finding(text).hint == hint


def test_a_table_that_stands_twice_is_named() -> None:
    """Its name is shown as in the file."""
    assert finding("[stages.rag]\n[stages.rag]").message == "table `stages.rag` stands twice"
