"""The cache of answers, in memory and in a file."""

from __future__ import annotations

import sqlite3

import pytest

from dagflow.completion import Completion
from dagflow.errors import StoreError
from dagflow.exchange import Usage
from dagflow.store.answers import MemoryAnswers, StoredAnswers
from dagflow.testing import ManualClock

pytestmark = pytest.mark.anyio
ANSWER = Completion("yes", "tool_calls", "m", Usage(3, 4, 1, 0.5), [{"id": "1"}], "because", "member")


class Log:
    """Counts warnings."""

    def __init__(self):
        self.warnings = 0

    def warning(self, event, **values):
        """Count one."""
        self.warnings += 1


@pytest.fixture(params=["memory", "stored"])
async def build(request, tmp_path):
    """A function that opens a cache of each kind."""
    opened = []

    async def build(max_entries=10, ttl_s=None, clock=None):
        clock = clock or ManualClock(100.0)
        if request.param == "memory":
            answers = MemoryAnswers(max_entries, ttl_s, clock)
        else:
            answers = StoredAnswers(tmp_path / "answers.db", max_entries, ttl_s, Log(), clock)
            await answers.open()
        opened.append(answers)
        return answers

    yield build
    for answers in opened:
        await answers.close()


async def test_an_answer_comes_back_whole(build):
    """With all that it says, and as a copy."""
    answers = await build()
    assert await answers.get(b"k") is None
    answers.put(b"k", ANSWER)
    first = await answers.get(b"k")
    assert first.as_dict() == ANSWER.as_dict()
    first.shared = "cache"
    assert (await answers.get(b"k")).shared is None


async def test_old_answers_are_not_given(build):
    """After the time to live."""
    clock = ManualClock(100.0)
    answers = await build(ttl_s=10, clock=clock)
    answers.put(b"k", ANSWER)
    clock.advance(9)
    assert await answers.get(b"k") is not None
    clock.advance(2)
    assert await answers.get(b"k") is None


async def test_it_is_bounded(build):
    """The oldest go."""
    answers = await build(max_entries=3)
    for number in range(10):
        answers.put(str(number).encode(), ANSWER)
    found = [number for number in range(10) if await answers.get(str(number).encode()) is not None]
    assert found == [7, 8, 9]


async def test_the_newest_answer_counts(build):
    """A key has one."""
    answers = await build()
    answers.put(b"k", ANSWER)
    answers.put(b"k", ANSWER.with_text("no"))
    assert (await answers.get(b"k")).text == "no"


async def test_a_later_run_goes_on_with_the_file(tmp_path):
    """And so may another process at the same time."""
    path, log = tmp_path / "answers.db", Log()
    first = StoredAnswers(path, 10, None, log)
    await first.open()
    first.put(b"k", ANSWER)
    second = StoredAnswers(path, 10, None, log)
    await second.open()
    await first.close()
    assert (await second.get(b"k")).text == "yes"
    await second.close()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_file_of_something_else_is_refused(tmp_path):
    """And left as it is."""
    (tmp_path / "answers.db").write_text("my diary, not a database")
    with pytest.raises(StoreError, match="no database"):
        await StoredAnswers(tmp_path / "answers.db", 10, None, Log()).open()


async def test_a_broken_file_is_no_reason_to_fail(tmp_path):
    """Nothing is found in it, and that is told once."""
    log = Log()
    answers = StoredAnswers(tmp_path / "answers.db", 10, None, log)
    await answers.open()
    connection = sqlite3.connect(tmp_path / "answers.db")
    connection.execute("DROP TABLE answers")
    connection.close()
    assert await answers.get(b"k") is None
    answers.put(b"k", ANSWER)
    assert await answers.get(b"k") is None
    await answers.close()
    assert log.warnings == 1
