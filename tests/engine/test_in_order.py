"""Sources that can't leave a record open, and sources whose records come again."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest
from rigs import Flow, FunctionStage, ListSink, ListSource, edge_of, records

from dagflow.errors import WorkerError
from dagflow.graph.plan import DeadLettersPlan
from dagflow.record import Outcome
from dagflow.store.database import open_database
from dagflow.store.letter import Selection
from dagflow.store.letters import LETTERS, find_letters


class LogSource(ListSource):
    """Can't leave a record open; remembers whether a letter was there when it was told."""

    in_order = True
    gives_back = True

    def settle(self, record, outcome):
        self.settled.append((record.id, outcome, record.ticket.kept, record.ticket.is_done(outcome)))


def letters(path):
    """Give record, place, outcome and code of each letter."""
    with closing(open_database(path, LETTERS, create=True)) as store:
        return sorted((m.record, m.place, m.outcome, m.code) for m in find_letters(store, Selection(), payloads=False))


def flow_of(tmp_path, source, stage, edge="in -> s", settings=None, plan=None, **edge_settings):
    """Build a pipeline of one stage that keeps letters."""
    plugins = {"in": source, "s": FunctionStage(stage), "out": ListSink()}
    edges = [edge_of(edge, **edge_settings), "s -> out"]
    return Flow(plugins, edges, settings, dead_letters=DeadLettersPlan(tmp_path / "letters.db"), **(plan or {}))


async def same(record):
    """Do nothing."""
    return record


async def fail(record):
    """Fail."""
    raise WorkerError("unavailable", "nobody there")


@pytest.mark.parametrize("on_error", ["dead_letter", "drop"])
def test_what_fails_is_kept_before_it_is_told(tmp_path, on_error):
    """Also where the stage would drop it."""
    source = LogSource(records(2))
    flow = flow_of(tmp_path, source, fail, settings={"s": {"on_error": on_error}})
    asyncio.run(flow.run())
    assert source.settled == [("0", Outcome.FAILED, True, True), ("1", Outcome.FAILED, True, True)]
    place = "s" if on_error == "dead_letter" else "in"
    code = "worker-unavailable"
    assert letters(tmp_path / "letters.db") == [("0", place, "failed", code), ("1", place, "failed", code)]


def test_what_expires_is_kept(tmp_path):
    """Nobody wants its answer any more, but the record would be gone."""
    source = LogSource(records(1, deadline=-1.0))
    asyncio.run(flow_of(tmp_path, source, same).run())
    assert source.settled == [("0", Outcome.EXPIRED, True, True)]
    assert letters(tmp_path / "letters.db") == [("0", "in", "expired", "deadline")]


def test_what_is_shed_without_a_letter_is_kept(tmp_path):
    """The source's own letter is the last resort."""
    source = LogSource(records(3))
    asyncio.run(flow_of(tmp_path, source, same, max_wait_s=0.0).run())
    assert {(outcome, kept) for _, outcome, kept, _ in source.settled} == {(Outcome.SHED, True)}
    assert {(place, outcome) for _, place, outcome, _ in letters(tmp_path / "letters.db")} == {("in", "shed")}


def test_any_other_source_keeps_none_of_it(tmp_path):
    """Only those that need it pay for it."""
    source = ListSource(records(1, deadline=-1.0))
    asyncio.run(flow_of(tmp_path, source, same).run())
    assert letters(tmp_path / "letters.db") == []


@pytest.mark.parametrize(("cls", "kept"), [(LogSource, []), (ListSource, [("0", "s", "cancelled", "unfinished")])])
def test_what_is_cut_off_comes_again_or_is_kept(tmp_path, cls, kept):
    """A record that a later run gets again has no letter, and is not done."""

    async def main():
        source, began = cls(records(1), finite=False), asyncio.Event()

        async def wait(record):
            began.set()
            await asyncio.Event().wait()

        engine = flow_of(tmp_path, source, wait, plan={"drain_timeout_s": 0.01}).engine()
        running = asyncio.ensure_future(engine.run())
        await began.wait()
        engine.stop("test")
        await running
        return source

    source = asyncio.run(main())
    assert letters(tmp_path / "letters.db") == kept
    if cls is LogSource:
        assert source.settled == [("0", Outcome.CANCELLED, None, False)]
