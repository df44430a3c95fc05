"""`--set KEY=VALUE`."""

from typing import Any

import pytest

from dagflow.config.overrides import apply_override, parse_override


def overridden(text: str) -> Any:
    """Apply one override to a small file."""
    tables = {"a": {"b": 1}, "edges": [{"to": "x"}, {"to": "y"}], "name": "n"}
    apply_override(tables, text)
    return tables


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("16", 16),
        ("1.5", 1.5),
        ("true", True),
        ('"16"', "16"),
        ("text", "text"),
        ("30s", "30s"),
        ("", ""),
        ("a=b", "a=b"),
        ('["x", 2]', ["x", 2]),
        ("{ x = 1 }", {"x": 1}),
        ("1\nother = 2", "1\nother = 2"),
    ],
)
def test_a_value_is_toml_or_else_text(value: str, expected: object) -> None:
    """What TOML cannot read is a string as it stands."""
    assert overridden(f"a.b={value}")["a"]["b"] == expected


def test_tables_on_the_way_are_made() -> None:
    """A key below a table that is not there yet makes it."""
    assert overridden("logging.level=debug")["logging"] == {"level": "debug"}
    assert overridden('a."x.y"=1')["a"] == {"b": 1, "x.y": 1}


def test_elements_of_arrays_are_counted_from_zero() -> None:
    """Numbers in the key lead into arrays."""
    tables = {"edges": [{"to": "x"}, {"to": "y"}]}
    override = apply_override(tables, "edges.1.to=z")
    assert tables["edges"][1] == {"to": "z"}
    assert override.key == ("edges", 1, "to")


@pytest.mark.parametrize(("typed", "made"), [("a.b", ("a", "b")), ("a.c.d", ("a", "c")), ("x.y.z", ("x",))])
def test_an_override_knows_what_it_made(typed: str, made: tuple[str, ...]) -> None:
    """The outermost key that was not there before, or the value that it replaced."""
    assert apply_override({"a": {"b": 1}}, f"{typed}=2").made == made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.b", "KEY=VALUE"),
        ("=3", "KEY=VALUE"),
        ("a b=3", "is not a key"),
        ("name.x=3", "`name` is a plain value"),
        ("edges.2.to=z", "`edges` has 2 elements"),
        ("edges.first.to=z", "by its position"),
    ],
)
def test_a_key_that_leads_nowhere_is_refused(text: str, message: str) -> None:
    """The message says what stands there."""
    with pytest.raises(ValueError, match=message):
        overridden(text)


def test_an_override_is_shown_as_typed() -> None:
    """Also with another value in place of a secret."""
    override = apply_override({}, "a.b=1")
    assert override.render() == "--set a.b=1"
    assert override.render("***") == "--set a.b=***"


def test_parsing_alone_touches_nothing() -> None:
    """The command line checks the form before it reads the file."""
    assert parse_override("a.0.b=x=y") == ("a.0.b", ["a", "0", "b"], "x=y")
