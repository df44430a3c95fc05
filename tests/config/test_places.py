"""Places of keys and values, in all forms that TOML has for them."""

import pytest

from dagflow.config.places import Places

TEXT = '''# a comment
title = "x"
a.b."c d" = 1
inline = { x = 1, y = { z = [10, { w = 2 }] } }
long = """
first
"""

[stages.rag]   # another
type = "retrieve"
nested.deep = true

[[list]]
n = 1

[list.sub]
m = 2

[[list]]
n = 3
é = "wide"  # x
'''


def part(key: tuple[str | int, ...], at: str = "value") -> tuple[int, str]:
    """Give the line of a place, and the text under its carets."""
    places = Places(TEXT)
    span = places.find(key, at)
    assert span is not None
    return span.line, places.line(span.line)[span.column - 1 : span.column - 1 + span.width]


@pytest.mark.parametrize(
    ("key", "line", "text"),
    [
        (("title",), 2, '"x"'),
        (("a", "b", "c d"), 3, "1"),
        (("inline", "y", "z", 1, "w"), 4, "2"),
        (("inline", "y", "z", 0), 4, "10"),
        (("inline", "y"), 4, "{ z = [10, { w = 2 }] }"),
        (("long",), 5, '"""'),
        (("stages", "rag"), 9, "[stages.rag]"),
        (("stages", "rag", "type"), 10, '"retrieve"'),
        (("stages", "rag", "nested", "deep"), 11, "true"),
        (("list", 0, "n"), 14, "1"),
        (("list", 0, "sub", "m"), 17, "2"),
        (("list", 1, "n"), 20, "3"),
        (("list", 1), 19, "[[list]]"),
        (("list", 1, "é"), 21, '"wide"'),
    ],
)
def test_values_are_found(key: tuple[str | int, ...], line: int, text: str) -> None:
    """Each value is found by its key, through inline tables, arrays of tables and dotted keys."""
    assert part(key) == (line, text)


@pytest.mark.parametrize(
    ("key", "line", "text"),
    [
        (("title",), 2, "title"),
        (("a", "b", "c d"), 3, '"c d"'),
        (("inline", "y", "z"), 4, "z"),
        (("stages",), 9, "stages"),
        (("stages", "rag"), 9, "rag"),
        (("stages", "rag", "nested", "deep"), 11, "deep"),
        (("list", 1, "é"), 21, "é"),
    ],
)
def test_names_are_found(key: tuple[str | int, ...], line: int, text: str) -> None:
    """Each key is found by its own name."""
    assert part(key, "key") == (line, text)


def test_what_is_missing_is_where_its_table_is() -> None:
    """A key that the file lacks has the place of the nearest table above."""
    assert part(("stages", "rag", "documents")) == (9, "[stages.rag]")
    assert part(("inline", "y", "none")) == (4, "{ z = [10, { w = 2 }] }")
    assert Places(TEXT).find(("sinks", "x")) is None


def test_windows_line_ends_do_not_count() -> None:
    """Columns and lines are those that an editor shows."""
    places = Places('a = 1\r\nb = "x"\r\n')
    assert places.find(("b",)) == (2, 5, 3)
    assert places.line(2) == 'b = "x"'
