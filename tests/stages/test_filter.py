"""Stage `filter`: which records go on."""

from __future__ import annotations

import pytest
from alone import build, complaints, opened

from dagflow.errors import ExpressionError
from dagflow.record import Record
from dagflow.stages.filter import Filter

pytestmark = pytest.mark.anyio


async def keeps(keep: str, record: Record) -> bool:
    """Whether the record goes on, unchanged."""
    async with opened(build(Filter, keep=keep)) as stage:
        result = await stage.process(record)
    assert result in (record, None)
    return result is record


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("input | length > 2", True),
        ("input == 'abcd'", False),
        ("meta.tier == 'gold'", True),
        ("priority > 3", True),
        ("nothing", False),
        ("nothing.at.all == 1", False),
        ("not nothing", True),
        ("tags | select('equalto', 'z')", False),
        ("tags | select('equalto', 'a')", True),
    ],
)
async def test_keep(keep: str, kept: bool) -> None:
    """A condition over fields and the record's own names; an undefined name is false."""
    record = Record({"input": "abc", "tags": ["a"]}, priority=5, meta={"tier": "gold"})
    assert await keeps(keep, record) is kept


async def test_a_condition_that_fails_fails_the_record() -> None:
    """It is not taken for false."""
    with pytest.raises(ExpressionError, match="condition `input > 5` failed"):
        await keeps("input > 5", Record({"input": "abc"}))


def test_fields() -> None:
    """Reads what it asks about without `is defined`, and writes nothing."""
    stage = build(Filter, keep="a > 1 and b is defined and meta.x")
    assert (stage.reads(), stage.writes()) == ({"a"}, set())


def test_bad_options() -> None:
    """A condition that does not parse is refused when the file is validated."""
    ((place, text),) = complaints(Filter, keep="a >")
    assert (place, text.split(":")[0]) == ("keep", "the condition does not parse")
    assert complaints(Filter) == [("keep", "Field required")]
