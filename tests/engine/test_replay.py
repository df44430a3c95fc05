"""Replay: where letters go on, which are refused, and what becomes of them."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import replace

import pytest
from rigs import Flow, FunctionStage, ListSink, ListSource, edge_of, records

from dagflow.engine.replay import Entry, build_replay, choose_entries
from dagflow.errors import RecordError, UnreadableRecord
from dagflow.expressions import Expression
from dagflow.graph.plan import DeadLettersPlan, JoinPlan
from dagflow.record import Record, UnreadableInput
from dagflow.store.database import open_database
from dagflow.store.letter import Selection
from dagflow.store.letters import LETTERS, find_letters


class Shop:
    """A source, a stage `a`, a stage `b` that fails until it is mended, and a sink."""

    def __init__(self, path, given=None, edges=("in -> a", "a -> b", "b -> out"), settings=None, **stages):
        self.path = path
        self.mended = False
        self.sink = ListSink()
        plugins = {"in": ListSource(records(4) if given is None else given), "a": FunctionStage(self.add)}
        plugins |= {"b": FunctionStage(self.work)} | {name: FunctionStage(stage) for name, stage in stages.items()}
        self.flow = Flow(plugins | {"out": self.sink}, edges, settings, dead_letters=DeadLettersPlan(path))

    async def add(self, record):
        """Count how often a record comes by."""
        record["a"] = record.get("a", 0) + 1
        return record

    async def work(self, record):
        """Fail for every other record until mended."""
        record["b"] = record.get("b", 0) + 1
        if not self.mended and record["n"] % 2:
            raise RecordError("broken")
        return record

    def letters(self, ids=None):
        """The letters in the store."""
        with closing(open_database(self.path, LETTERS, create=False)) as store:
            return list(find_letters(store, Selection(ids=tuple(ids or ())), payloads=True))

    def refusals(self, from_start=False):
        """Why letters are refused, with their records."""
        _, refused = choose_entries(self.flow.plan, self.letters(), from_start)
        return {reason: [letter.record for letter in letters] for reason, letters in refused.items()}

    def replay(self, from_start=False, answer=None):
        """Replay all that can be; gives the report."""
        entries, _ = choose_entries(self.flow.plan, self.letters(), from_start)
        plan, build = build_replay(self.flow.plan, entries, self.letters, answer)
        return asyncio.run(build(plan).run())


@pytest.fixture
def path(tmp_path):
    """Where the letters are."""
    return tmp_path / "letters.db"


@pytest.mark.parametrize("from_start", [False, True])
def test_what_failed_goes_on_where_it_failed_or_from_the_start(path, from_start):
    """Once mended, the output is that of a clean run, and no letter is left."""
    shop = Shop(path)
    asyncio.run(shop.flow.run())
    assert shop.sink.ids == ["0", "2"]
    shop.mended = True
    report = shop.replay(from_start)
    assert sorted(shop.sink.ids) == ["0", "1", "2", "3"]
    assert all(fields == {"n": int(id), "a": 1, "b": 1} for id, fields in shop.sink.written)
    assert report["accepted"] == report["outcomes"]["delivered"] == 2
    assert report["nodes"]["a"]["taken"] == (2 if from_start else 0)
    assert report["dead_letters"]["in_store"] == 0
    assert shop.letters() == []


def test_what_fails_again_has_one_letter_that_counts(path):
    """The new one takes the place of the old one."""
    shop = Shop(path)
    asyncio.run(shop.flow.run())
    for replays in (1, 2):
        assert shop.replay()["exit_code"] == 65
        found = [(m.record, m.node, m.replays, m.acceptance) for m in shop.letters()]
        assert [row[:3] for row in found] == [("1", "b", replays), ("3", "b", replays)]
    assert len({key for *_, key in found}) == 2


def test_what_is_filtered_is_done_and_what_is_shed_stays(path):
    """A letter goes once its record is delivered or filtered."""
    shop = Shop(path)
    asyncio.run(shop.flow.run())
    plugin = shop.flow.plugins["b"]

    async def sort_out(record):
        return None if record["n"] == 1 else record

    plugin.process = sort_out
    edges = tuple(replace(e, max_wait_s=-1.0) if e.target == "out" else e for e in shop.flow.plan.edges)
    shop.flow.plan = replace(shop.flow.plan, edges=edges)
    assert shop.replay()["outcomes"]["shed"] == 1
    assert [(m.record, m.replays) for m in shop.letters()] == [("3", 0)]


def test_a_record_keeps_what_it_was(path):
    """Its id, session, priority and meta, also from the start, whatever a stage made of them."""
    seen = []

    async def rename(record):
        return Record({"n": 1}, "renamed", session="other", priority=9, meta={"m": 2})

    async def look(record):
        seen.append((record.id, record.session, record.priority, dict(record.meta), record.deadline))
        raise RecordError("no")

    given = [Record({"n": 1}, "x", session="s", priority=2, meta={"m": 1}, deadline=1e12)]
    shop = Shop(path, given, ["in -> a", "a -> b", "b -> out"])
    shop.flow.plugins["a"].process, shop.flow.plugins["b"].process = rename, look
    asyncio.run(shop.flow.run())
    shop.replay()
    assert seen.pop() == ("renamed", "other", 9, {"m": 2}, None)
    shop.flow.plugins["a"].process = look
    shop.replay(from_start=True)
    assert seen.pop() == ("x", "s", 2, {"m": 1}, None)


def test_several_letters_of_one_record_start_once(path):
    """Both branches failed; from the start they are one record, and both letters go."""
    edges = ["in -> a", "a -> b", "a -> c", "b -> out", "c -> out"]
    shop = Shop(path, records(2), edges, c=lambda record: record)
    shop.flow.plugins["c"].process = shop.work
    asyncio.run(shop.flow.run())
    assert [(m.record, m.node) for m in shop.letters()] == [("1", "b"), ("1", "c")]
    shop.mended = True
    report = shop.replay(from_start=True)
    assert (report["accepted"], report["dead_letters"]["in_store"]) == (1, 0)


def test_what_an_edge_shed_goes_on_behind_it(path):
    """At the edge's target, over no full edge."""
    edges = ["in -> a", edge_of("a -> b", max_bytes=1, dead_letter=True), "b -> out"]
    shop = Shop(path, edges=edges)
    asyncio.run(shop.flow.run())
    assert shop.sink.ids == []
    shop.mended = True
    shop.replay()
    assert sorted(shop.sink.ids) == ["0", "1", "2", "3"]


def test_what_no_edge_of_the_source_took_starts_again(path):
    """Its node is the source."""
    shop = Shop(path, edges=[edge_of("in -> a", when=Expression("n > 9")), "a -> b", "b -> out"])
    asyncio.run(shop.flow.run())
    assert shop.replay()["outcomes"]["failed"] == 4
    assert {(m.node, m.replays) for m in shop.letters()} == {("in", 1)}


DIAMOND = ["in -> a", "in -> b", "a -> join", "b -> join", "join -> out"]


def test_a_join_behind_refuses_unless_from_the_start(path):
    """The other branch would never come."""
    shop = Shop(path, edges=DIAMOND, settings={"join": {"join": JoinPlan("all")}}, join=lambda record: record)
    asyncio.run(shop.flow.run())
    reason = "`join` behind `b` joins the branches of a record; `--from-start` sends in whole records"
    assert shop.refusals() == {reason: ["1", "3"]}
    shop.mended = True
    assert shop.refusals(from_start=True) == {}
    assert shop.replay(from_start=True)["outcomes"]["delivered"] == 2
    assert shop.letters() == []


def test_what_failed_after_its_join_goes_on_there(path):
    """The branches are together; but where they are not, it is refused."""
    broken = True

    async def join(record):
        if broken:
            raise RecordError("no")
        return record

    settings = {"join": {"join": JoinPlan("all")}}
    shop = Shop(path, [Record({"n": 2}, "a")], DIAMOND, settings, join=join)
    asyncio.run(shop.flow.run())
    assert shop.refusals() == {}
    [letter] = shop.letters()
    partial = replace(letter, code="join-timeout")
    entries, refused = choose_entries(shop.flow.plan, [partial, replace(letter, outcome="shed")], False)
    assert (entries, [len(found) for found in refused.values()]) == ([], [2])
    broken = False
    assert shop.replay()["outcomes"]["delivered"] == 1


def test_what_cannot_be_sent_in_again_is_refused_with_a_reason(path):
    """Input that was no record, a node or a source that is gone, a field that is text only."""
    bad = UnreadableInput(UnreadableRecord("f:1", "no JSON"), {}, "bad")
    shop = Shop(path, [bad, Record({"n": 1, "odd": {1}}, "odd")])
    asyncio.run(shop.flow.run())
    unreadable = "no record could be made of the input; correct it, and run it again"
    odd = "`odd` is kept as text only, since JSON cannot hold it"
    assert shop.refusals() == shop.refusals(from_start=True) == {unreadable: ["bad"], odd: ["odd"]}
    later = [replace(letter, as_text={"fields": ["odd"], "accepted": []}) for letter in shop.letters()]
    _, refused = choose_entries(shop.flow.plan, later, False)
    assert f"{odd}; `--from-start` does without it" in refused
    letters = [replace(letter, node="gone", source="lost", readable=True) for letter in shop.letters()]
    _, refused = choose_entries(shop.flow.plan, letters, False)
    remedy = "`--from-start` sends records in at their source"
    assert list(refused) == [f"there is no stage or sink `gone` any more; {remedy}"]
    _, refused = choose_entries(shop.flow.plan, letters, True)
    assert list(refused) == ["there is no source `lost` any more"]


def test_letters_that_went_meanwhile_are_left_out(path):
    """Somebody else may have purged them."""
    shop = Shop(path)
    asyncio.run(shop.flow.run())
    plan, build = build_replay(shop.flow.plan, [Entry("(replay)", "b", (77,))], shop.letters)
    assert asyncio.run(build(plan).run())["accepted"] == 0


class Answering(ListSink):
    """Hands each record back."""

    async def write(self, record):
        record.ticket.reply(record)


def test_answers_go_where_the_caller_would_be(path):
    """A letter stays if its answer could not be written, and the run says so."""
    shop = Shop(path)
    shop.flow.plugins["out"].write = Answering().write
    asyncio.run(shop.flow.run())
    shop.mended = True
    answers = []

    def answer(record):
        if record["n"] == 3:
            raise RecordError("no room")
        answers.append(record["n"])

    report = shop.replay(answer=answer)
    assert answers == [1]
    assert [m.record for m in shop.letters()] == ["3"]
    assert report["exit_code"] == 1
    assert report["stopped_by"] == "record `3` was answered, and its letter stays: no room"


def test_limits_are_not_for_a_replay(path):
    """What is full or too old is just what is to be sent in again."""
    shop = Shop(path)
    asyncio.run(shop.flow.run())
    shop.flow.plan = replace(shop.flow.plan, dead_letters=DeadLettersPlan(path, 1, 1e-9))
    assert shop.replay()["outcomes"]["failed"] == 2
    assert [m.replays for m in shop.letters()] == [1, 1]


def test_sinks_learn_that_the_run_resumes(path):
    """So that they add to what they wrote."""
    shop = Shop(path)
    asyncio.run(shop.flow.run())
    first = shop.sink.context.resumes
    shop.replay()
    assert (first, shop.sink.context.resumes) == (False, True)
