"""Keys as a reader of the file would write them."""

from dagflow.config.keys import is_under, render_key, value_at


def test_a_key_is_rendered_as_in_a_file() -> None:
    """Names are joined by dots, positions stand in brackets, odd names in quotes."""
    assert render_key(("pipeline", "edges", 2, "capacity")) == "pipeline.edges[2].capacity"
    assert render_key(("tags", "my tag")) == 'tags."my tag"'
    assert render_key((0, "x")) == "[0].x"


def test_a_key_is_under_itself_and_its_tables() -> None:
    """Only whole parts count."""
    assert is_under(("a", "b"), ("a", "b"))
    assert is_under(("a", "b"), ())
    assert not is_under(("a", "bc"), ("a", "b"))


def test_a_value_is_found_or_none() -> None:
    """A key that leads nowhere gives None, whatever stands on its way."""
    tables = {"a": [{"b": 1}], "c": "text"}
    assert value_at(tables, ("a", 0, "b")) == 1
    assert value_at(tables, ("a", 1)) is None
    assert value_at(tables, ("c", "t")) is None
    assert value_at(tables, ("d",)) is None
