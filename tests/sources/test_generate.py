"""Source `generate`: what it makes, how fast, and that it does so again."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from alone import Clock, build, complaints, opened

from dagflow.record import Record
from dagflow.sources import generate as generate_module
from dagflow.sources.generate import Generate
from dagflow.sources.pace import Pace

pytestmark = pytest.mark.anyio


async def generate(limit: int = 1_000_000, clock: Any = None, **options: Any) -> list[Record]:
    """Give the records, at most `limit`."""
    made: list[Record] = []
    more = {"clock": clock} if clock else {}
    async with opened(build(Generate, **options), name="gen", **more) as source:
        records = source.records()
        async for record in records:
            made.append(record)
            if len(made) == limit:
                break
        await records.aclose()
    return made


async def test_records_are_numbered() -> None:
    """In their fields and their ids, from 0."""
    made = await generate(count=3)
    assert [(record.id, dict(record)) for record in made] == [
        ("gen:0", {"input": "record 0", "n": 0}),
        ("gen:1", {"input": "record 1", "n": 1}),
        ("gen:2", {"input": "record 2", "n": 2}),
    ]
    assert {(record.session, record.priority, record.deadline) for record in made} == {(None, 0, None)}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("same", "same"),
        ("", ""),
        ("{{ n }}", "7"),
        ("{{n}}/{{  n  }}/{{ n }}", "7/7/7"),
        ("a {{ n }}\n", "a 7"),
        ("{{ n * 2 }}", "14"),
        ("{{ 'x' * n }}{{ n }}", "xxxxxxx7"),
        ("{% if n > 5 %}many{% else %}few{% endif %}", "many"),
        ("{{- n -}} x", "7x"),
        ("{# nothing #}{{ n }}", "7"),
    ],
)
async def test_input_is_a_template(template: str, expected: str) -> None:
    """The shortcuts for simple ones give what Jinja gives."""
    made = await generate(count=8, input=template)
    assert made[7]["input"] == expected


async def test_without_count_it_never_ends() -> None:
    """Such a source is not finite, and knows no progress."""
    assert len(await generate(limit=5000)) == 5000
    assert build(Generate).finite is False
    assert build(Generate, count=1).finite is True
    assert build(Generate).progress() is None


async def test_progress() -> None:
    """The share that has been made."""
    async with opened(build(Generate, count=4)) as source:
        shares = [source.progress()]
        async for _ in source.records():
            shares.append(source.progress())
    assert shares == [0, 0.25, 0.5, 0.75, 1]


async def test_sessions_and_priorities_are_drawn_from_the_seed() -> None:
    """Evenly, and in the same way each time."""

    async def drawn(**options: int) -> list[tuple[str | None, int]]:
        made = await generate(count=3000, sessions=5, priorities=[0, 0, 9], **options)
        return [(record.session, record.priority) for record in made]

    first = await drawn(seed=1)
    sessions = Counter(session for session, _ in first)
    assert sorted(sessions) == [f"session-{number}" for number in range(5)]
    assert min(sessions.values()) > 500
    assert 850 < Counter(priority for _, priority in first)[9] < 1150
    assert await drawn(seed=1) == first
    assert await drawn(seed=2) != first


async def test_rate_spreads_records_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ones come at once, the others at the rate."""
    clock = Clock()
    monkeypatch.setattr(generate_module, "sleep", clock.sleep)
    await generate(count=25, rate="10/s", burst=5, clock=clock)
    assert sum(clock.slept) == pytest.approx(2.0)
    assert len(clock.slept) == 20


async def test_the_default_burst_is_what_comes_in_ten_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coarse timer does not lower a high rate, and a low rate does not come in bursts."""
    clock = Clock()
    monkeypatch.setattr(generate_module, "sleep", clock.sleep)
    await generate(count=60, rate="5000/s", clock=clock)
    assert sum(clock.slept) == pytest.approx(10 / 5000)
    clock.slept.clear()
    await generate(count=60, rate="5/s", clock=clock)
    assert clock.slept == pytest.approx([1 / 5] * 59)


def test_pace_keeps_its_rate_in_spite_of_late_timers() -> None:
    """What was late by less than the burst is caught up."""
    pace, now_s, due = Pace(100, 3, 0.0), 0.0, []
    for _ in range(100):
        wait_s = pace.next_wait_s(now_s)
        if wait_s > 0:
            now_s += wait_s + 0.004  # a timer that is always late
        due.append(now_s)
    assert due[-1] == pytest.approx(97 / 100, abs=0.02)


def test_pace_does_not_make_up_for_a_long_pause() -> None:
    """At most `burst` come at once after it."""
    pace = Pace(10, 2, 0.0)
    waits = [pace.next_wait_s(0.0) for _ in range(3)] + [pace.next_wait_s(60.0) for _ in range(4)]
    assert [wait <= 0 for wait in waits] == [True, True, False, True, True, False, False]
    assert [later - sooner for sooner, later in pairwise(waits[3:])] == pytest.approx([0.1] * 3)


def test_fields() -> None:
    """It writes two."""
    assert (build(Generate).reads(), build(Generate).writes()) == (set(), {"input", "n"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": -1}, "greater than or equal to 0"),
        ({"rate": "fast"}, "expected a rate"),
        ({"rate": "0/s"}, "expected a `rate` above 0"),
        ({"burst": 5}, "`burst` needs a `rate`"),
        ({"sessions": 0}, "greater than or equal to 1"),
        ({"priorities": []}, "at least 1 item"),
        ({"input": "{{ m }}"}, "`input` can use `n` only, not `m`"),
        ({"input": "{{ n"}, "the template does not parse"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    """Each is refused when the file is validated."""
    ((_, text),) = complaints(Generate, **options)
    assert message in text
