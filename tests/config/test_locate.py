"""Places of diagnostics, and what is masked in the lines that they show."""

from pathlib import Path

from dagflow.config.diagnostics import diagnose
from dagflow.config.document import Document, read_document
from dagflow.config.locate import locate

TEXT = """\
[workers.main]
type = "remote"
options = { api_key = "sk-123", other = "x" }
"""
SECRET = ("workers", "main", "options", "api_key")


def document(*overrides: str) -> Document:
    """Read the text, with its secret known."""
    read = read_document(TEXT, Path("p.toml"), overrides, {})
    read.secrets[SECRET] = "sk-123"
    return read


def test_findings_are_sorted_by_place() -> None:
    """Those without a line come first."""
    found = [
        diagnose("unknown-key", "second", ("workers", "main", "options", "other"), at="key"),
        diagnose("unknown-type", "first", ("workers", "main", "type")),
        diagnose("no-sinks", "zeroth"),
    ]
    assert [(d.message, d.line, d.column) for d in locate(found, document())] == [
        ("zeroth", None, None),
        ("first", 2, 8),
        ("second", 3, 33),
    ]


def test_a_secret_on_the_line_is_masked_and_columns_stay() -> None:
    """The caret of a neighbour still stands where it belongs."""
    (found,) = locate([diagnose("unknown-key", "x", ("workers", "main", "options", "other"), at="key")], document())
    assert found.source_line == 'options = { api_key = ********, other = "x" }'
    assert found.source_line[found.column - 1 :].startswith("other")


def test_a_value_from_an_override_points_there() -> None:
    """A `--set` takes the place of the line."""
    (found,) = locate([diagnose("unknown-type", "x", ("workers", "main", "type"))], document("workers.main.type=y"))
    assert (found.path, found.line, found.source_line) == ("--set workers.main.type=y", None, None)


def test_a_secret_in_an_override_is_masked() -> None:
    """Also where the override holds more than the secret."""
    for text in ("workers.main.options.api_key=sk-123", 'workers.main.options={ api_key = "sk-123" }'):
        (found,) = locate([diagnose("wrong-type", "x", SECRET)], document(text))
        assert found.path == f"--set {text.partition('=')[0]}=**********"


def test_other_places_are_given_as_lines() -> None:
    """A finding with several values knows all of them."""
    (found,) = locate([diagnose("cycle", "x", ("workers",), others=[SECRET, ("nowhere",)])], document())
    assert (found.line, found.other_lines) == (1, (3,))


def test_text_without_a_file_has_places_too() -> None:
    """The path is missing, the line is not."""
    (found,) = locate([diagnose("unknown-table", "x", ("a",), at="key")], read_document("[a]", None, (), {}))
    assert (found.path, found.line, found.column, found.source_line) == (None, 1, 2, "[a]")
