"""Stage `set`: computed fields."""

from __future__ import annotations

import pytest
from alone import build, complaints, opened

from dagflow.errors import ExpressionError
from dagflow.record import Record
from dagflow.stages.set import Set

pytestmark = pytest.mark.anyio


async def values(fields: dict[str, str], record: Record) -> dict:
    """Run the stage once and give the record's fields."""
    async with opened(build(Set, fields=fields)) as stage:
        assert await stage.process(record) is record
    return dict(record)


async def test_expressions_see_the_record_as_it_came() -> None:
    """Two fields can be swapped."""
    assert await values({"a": "b", "b": "a"}, Record({"a": 1, "b": 2})) == {"a": 2, "b": 1}


async def test_values_keep_their_types() -> None:
    """An expression is no text template."""
    fields = {"n": "input | length", "big": "input | length > 2", "parts": "[input, 1.5]", "tier": "meta.tier"}
    record = Record({"input": "abc"}, meta={"tier": "gold"})
    assert await values(fields, record) == {
        "input": "abc",
        "n": 3,
        "big": True,
        "parts": ["abc", 1.5],
        "tier": "gold",
    }


async def test_what_is_undefined_gives_null() -> None:
    """At any depth."""
    assert await values({"a": "nothing", "b": "meta.no.such"}, Record()) == {"a": None, "b": None}


async def test_lazy_sequences_become_lists() -> None:
    """Values are shared, so that one that can be read once only would be lost."""
    fields = {"long": "words | select('gt', 'b')", "up": "words | map('upper')", "n": "range(3)", "keys": "d.keys()"}
    record = Record({"words": ["a", "c"], "d": {"x": 1}})
    await values(fields, record)
    assert [record[name] for name in fields] == [["c"], ["A", "C"], [0, 1, 2], ["x"]]


async def test_a_failing_expression_fails_the_record() -> None:
    """It names the expression, and changes nothing."""
    record = Record({"a": "x"})
    with pytest.raises(ExpressionError, match="condition `a / 2` failed"):
        await values({"b": "1", "c": "a / 2"}, record)
    assert dict(record) == {"a": "x"}


def test_fields() -> None:
    """Reads what the expressions need, writes what it is told to."""
    stage = build(Set, fields={"a": "b + c", "d": "e is defined and e"})
    assert (stage.reads(), stage.writes()) == ({"b", "c"}, {"a", "d"})


@pytest.mark.parametrize(
    ("fields", "place", "message"),
    [
        ({}, "fields", "at least 1 item"),
        ({"a": "b +"}, "fields.a", "the condition does not parse"),
        ({"session": "b"}, "fields.session.[key]", "`session` always stands for the record's own"),
        ({"a-b": "c"}, "fields.a-b.[key]", "expected a field name (letters, digits and `_`, no digit first)"),
    ],
)
def test_bad_options(fields: dict[str, str], place: str, message: str) -> None:
    """Each is refused at its place when the file is validated."""
    ((where, text),) = complaints(Set, fields=fields)
    assert where == place
    assert message in text
