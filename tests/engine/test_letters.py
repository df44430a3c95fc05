"""Dead letters: what is kept, as what, when its outcome is told, and what happens when it can't be."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from functools import partial

import anyio
import pytest
from pydantic import BaseModel, SecretStr
from rigs import SILENT, Flow, FunctionStage, ListSink, ListSource, chain, check_balance, edge_of, records

from dagflow.completion import Completion
from dagflow.engine import engine as engine_module
from dagflow.engine import letters as letters_module
from dagflow.engine.engine import Engine
from dagflow.engine.letters import Letters
from dagflow.errors import OpenFailed, RecordError, UnreadableRecord, WorkerError
from dagflow.exchange import Chunk
from dagflow.expressions import Expression
from dagflow.graph.plan import DeadLettersPlan, JoinPlan, RetryPlan
from dagflow.record import Outcome, Record, Ticket, UnreadableInput
from dagflow.store.database import open_database
from dagflow.store.letter import Selection
from dagflow.store.letters import LETTERS, find_letters, purge_letters
from dagflow.store.payload import unpack
from dagflow.store.writer import commit_alone


@pytest.fixture
def path(tmp_path):
    """Where the letters are."""
    return tmp_path / "letters.db"


@pytest.fixture
def kept(path):
    """Gives the letters that are in the store."""

    def found():
        with closing(open_database(path, LETTERS, create=True)) as store:
            return list(find_letters(store, Selection(), payloads=True))

    return found


@pytest.fixture
def keeping(path):
    """The settings of a plan that keeps letters."""
    return {"dead_letters": DeadLettersPlan(path)}


def fail(record):
    """Change the record, and fail."""
    record["n"] = "changed"
    try:
        raise KeyError("inner")
    except KeyError as error:
        raise WorkerError("unavailable", "nobody there") from error


async def same(record):
    """Do nothing."""
    return record


def brief(letters):
    """Record, node, place, outcome and code of each letter."""
    return sorted((m.record, m.node, m.place, m.outcome, m.code) for m in letters)


def test_a_letter_says_all_that_is_known(keeping, kept):
    """The fields as they entered the node and as they were accepted, the error with what it came from."""

    async def add(record):
        record["more"] = 1
        return record

    given = Record({"n": 1}, "a", session="s", priority=3, meta={"m": [1]})
    flow = chain([given], add, fail, **keeping)
    object.__setattr__(flow.plan.nodes["s1"], "retry", RetryPlan(2, 0.0, 0.0))
    report = asyncio.run(flow.run())
    [letter] = kept()
    assert (letter.record, letter.node, letter.place, letter.source) == ("a", "s1", "s1", "in")
    assert (letter.outcome, letter.code, letter.message) == ("failed", "worker-unavailable", "nobody there")
    assert letter.chain == [
        {"type": "WorkerError", "message": "nobody there"},
        {"type": "KeyError", "message": "KeyError: 'inner'"},
    ]
    assert (letter.attempts, letter.replays, letter.readable) == (2, 0, True)
    assert unpack(letter.fields) == {"n": 1, "more": 1}
    assert unpack(letter.accepted) == {"n": 1}
    about = {"id": "a", "session": "s", "priority": 3, "meta": {"m": [1]}, "port": None}
    assert unpack(letter.about) == unpack(letter.accepted_about) == about
    assert flow.outcomes == {"failed": 1}
    assert report["nodes"]["s1"]["not_kept"] == 0
    assert report["dead_letters"] == {"path": report["dead_letters"]["path"], "kept": 1, "purged": 0, "in_store": 1}


def test_the_letter_is_there_before_anybody_is_told(keeping, kept):
    """Of every record: the source looks when it is told."""
    flow = chain(records(300), fail, **keeping)
    source, seen = flow.plugins["in"], []

    def settle(record, outcome):
        seen.append(outcome is Outcome.FAILED and record.id in {letter.record for letter in kept()})

    source.settle = settle
    asyncio.run(flow.run())
    assert seen == [True] * 300


@pytest.mark.parametrize(("on_error", "count"), [("dead_letter", 3), ("drop", 0), ("port", 0)])
def test_on_error_decides(on_error, count, keeping, kept):
    """Only what is to be kept is."""
    plugins = {"in": ListSource(records(3)), "s": FunctionStage(fail), "out": ListSink(), "errors": ListSink()}
    last = "s.error -> errors" if on_error == "port" else "s -> errors"
    flow = Flow(plugins, ["in -> s", "s -> out", last], {"s": {"on_error": on_error}}, **keeping)
    asyncio.run(flow.run())
    assert len(kept()) == count


def test_what_a_source_cannot_read_or_send_is_kept(keeping, kept):
    """The one can't be replayed, the other can."""
    bad = UnreadableInput(UnreadableRecord("f:1", "no JSON"), {"line": "x"}, "bad")
    plugins = {"in": ListSource([bad, Record({}, "lost")]), "out": ListSink()}
    report = asyncio.run(Flow(plugins, [edge_of("in -> out", when=Expression("missing"))], **keeping).run())
    assert [(m.record, m.node, m.code, m.readable) for m in kept()] == [
        ("bad", "in", "unreadable", False),
        ("lost", "in", "unmatched", True),
    ]
    assert report["nodes"]["in"]["not_kept"] == 0


@pytest.mark.parametrize("way", ["one", "several", "yielded", "port"])
def test_what_no_edge_takes_goes_on_where_it_came_in(way, keeping, kept):
    """A stage that has changed it would else get it twice."""

    async def change(record):
        record["n"] += 1
        if way == "port":
            record.port = "nowhere"
        return [record] if way == "several" else record

    async def generate(record):
        yield await change(record)

    plugins = {
        "in": ListSource(records(1)),
        "s": FunctionStage(generate if way == "yielded" else change),
        "out": ListSink(),
    }
    asyncio.run(Flow(plugins, ["in -> s", edge_of("s -> out", when=Expression("missing"))], **keeping).run())
    [letter] = kept()
    assert (letter.node, letter.code) == ("s", "not-a-result" if way == "port" else "unmatched")
    assert unpack(letter.fields) == {"n": 0}


def test_a_best_effort_branch_is_not_kept(keeping, kept):
    """Nobody misses it; and nothing says that it should have been kept."""
    plugins = {"in": ListSource(records(2)), "audit": ListSink(fail), "out": ListSink()}
    report = asyncio.run(Flow(plugins, ["in -> out", edge_of("in -> audit", best_effort=True)], **keeping).run())
    assert kept() == []
    assert report["nodes"]["audit"]["failed"] == 2
    assert report["nodes"]["audit"]["not_kept"] == 0


def test_what_expires_is_not_kept(keeping, kept):
    """The answer is of no use any more."""
    flow = chain([Record({}, "a", deadline=0.0)], same, **keeping)
    asyncio.run(flow.run())
    assert flow.outcomes == {"expired": 1}
    assert kept() == []


def test_what_its_caller_cancelled_is_not_kept(keeping, kept):
    """Neither in the slot nor in the edge."""
    given = records(3)
    plugins = {"in": ListSource(given, can_cancel=True), "s": FunctionStage(hang), "out": ListSink()}
    flow = Flow(plugins, ["in -> s", "s -> out"], **keeping)

    async def main():
        engine = flow.engine()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.run)
            while engine.report()["nodes"]["in"]["taken"] < 3:
                await asyncio.sleep(0)
            for record in given:
                record.ticket.cancel()
        return engine.report()

    assert asyncio.run(main())["outcomes"]["cancelled"] == 3
    assert kept() == []


def test_a_run_that_is_cancelled_keeps_what_is_in_flight(keeping, kept):
    """Whoever runs it has ended it without a word: also what a slot was about to send."""
    plugins = {"in": ListSource(records(4)), "a": FunctionStage(same), "s": FunctionStage(hang), "out": ListSink()}
    flow = Flow(plugins, ["in -> a", edge_of("a -> s", capacity=1), "s -> out"], **keeping)

    async def main():
        engine = flow.engine()
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(engine.run)
                while engine.report()["edges"]["a -> s"]["taken"] < 1 or engine.report()["accepted"] < 4:
                    await asyncio.sleep(0)
                tasks.cancel_scope.cancel()
        return engine.report()

    report = asyncio.run(main())
    assert report["outcomes"]["cancelled"] == len(report["unfinished"]) == 4
    assert [(record, node) for record, node, *_ in brief(kept())] == [("0", "s"), ("1", "s"), ("2", "s"), ("3", "a")]


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize(
    ("reason", "settings"),
    [
        ("drop_newest", {"capacity": 1, "when_full": "drop_newest"}),
        ("drop_oldest", {"capacity": 1, "when_full": "drop_oldest"}),
        ("drop_lowest", {"capacity": 1, "when_full": "drop_lowest"}),
        ("max_wait", {"max_wait_s": -1.0}),
        ("too_large", {"max_bytes": 1}),
    ],
)
def test_an_edge_keeps_what_it_sheds(reason, settings, keeps, keeping, kept):
    """Where it says so; they go on at its target."""
    plugins = {"in": ListSource(records(3)), "s": FunctionStage(same), "out": ListSink()}
    edges = [edge_of("in -> s", dead_letter=keeps, **settings), "s -> out"]
    report = asyncio.run(Flow(plugins, edges, **keeping).run())
    shed = report["outcomes"]["shed"]
    assert shed > 0
    found = Counter((m.node, m.place, m.outcome, m.code) for m in kept())
    assert found == ({("s", "in -> s", "shed", reason): shed} if keeps else {})


async def forced(flow, when):
    """Run a flow, force its end once a condition holds, and give the report."""
    engine = flow.engine()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:

            async def end():
                await engine.started.wait()
                while not when(engine.report()):
                    await asyncio.sleep(0)
                engine.force("test")

            tasks.start_soon(end)
            report = await engine.run()
    check_balance(report)
    return report


async def hang(record):
    """Change the record, and never return."""
    record["n"] = "changed"
    await anyio.sleep_forever()


@pytest.mark.parametrize("on_error", ["dead_letter", "drop"])
def test_what_a_forced_end_cuts_off_is_kept(on_error, keeping, kept):
    """In the slot, in the edge, and with the sender that waits."""
    plugins = {"in": ListSource(records(9)), "s": FunctionStage(hang), "out": ListSink()}
    edges = [edge_of("in -> s", capacity=2), "s -> out"]
    flow = Flow(plugins, edges, {"s": {"on_error": on_error}}, **keeping)
    report = asyncio.run(forced(flow, lambda report: report["accepted"] == 4))
    assert report["outcomes"]["cancelled"] == 4
    assert brief(kept()) == [
        ("0", "s", "s", "cancelled", "unfinished"),
        ("1", "s", "in -> s", "cancelled", "unfinished"),
        ("2", "s", "in -> s", "cancelled", "unfinished"),
        ("3", "s", "in -> s", "cancelled", "unfinished"),
    ]
    assert all(unpack(letter.fields) == {"n": int(letter.record)} for letter in kept())


def test_parts_that_a_forced_end_cuts_off_make_one_letter(keeping, kept):
    """Those that were not sent would be made again from what they were made of."""

    async def split(record):
        return [Record({"part": n}) for n in range(5)]

    plugins = {"in": ListSource(records(1)), "split": FunctionStage(split), "s": FunctionStage(hang), "out": ListSink()}
    flow = Flow(plugins, ["in -> split", edge_of("split -> s", capacity=1), "s -> out"], **keeping)
    asyncio.run(forced(flow, lambda report: report["nodes"]["s"]["taken"] == 1 and report["nodes"]["split"]["busy"]))
    letters = kept()
    assert Counter(letter.node for letter in letters)["split"] <= 1
    assert {letter.record for letter in letters if letter.node == "s"} >= {"0/0", "0/1"}
    assert len({letter.acceptance for letter in letters}) == 1


def test_a_branch_that_was_not_sent_yet_is_kept(keeping, kept):
    """A forced end finds a record on its way to the first of two edges."""
    plugins = {"in": ListSource(records(9)), "a": ListSink(hang), "b": ListSink()}
    flow = Flow(plugins, [edge_of("in -> a", capacity=1), "in -> b"], **keeping)
    asyncio.run(forced(flow, lambda report: report["accepted"] == 3))
    assert ("2", "b", "in -> b", "cancelled", "unfinished") in brief(kept())


def test_what_waits_in_a_join_is_kept(keeping, kept):
    """A forced end finds a branch whose other one has not come."""
    plugins = {
        "in": ListSource(records(1)),
        "slow": FunctionStage(hang),
        "join": FunctionStage(same),
        "out": ListSink(),
    }
    edges = ["in -> join", "in -> slow", "slow -> join", "join -> out"]
    flow = Flow(plugins, edges, {"join": {"join": JoinPlan("all")}}, **keeping)
    asyncio.run(forced(flow, lambda report: report["nodes"]["join"]["join"]["waiting"] == 1))
    assert [(m.node, m.outcome) for m in sorted(kept(), key=lambda m: m.node)] == [
        ("join", "cancelled"),
        ("slow", "cancelled"),
    ]


@pytest.mark.parametrize("on_missing", ["fail", "partial"])
def test_a_join_waits_for_a_lost_branch_that_is_being_kept(on_missing, keeping, kept):
    """Its node does not end before; the record ends once, and so does the letter of the branch."""
    plugins = {
        "in": ListSource(records(20)),
        "bad": FunctionStage(fail),
        "join": FunctionStage(same),
        "out": ListSink(),
    }
    edges = ["in -> join", "in -> bad", "bad -> join", "join -> out"]
    flow = Flow(plugins, edges, {"join": {"join": JoinPlan("all", on_missing=on_missing)}}, **keeping)
    asyncio.run(flow.run())
    assert flow.outcomes == {"failed" if on_missing == "fail" else "delivered": 20}
    assert Counter(letter.node for letter in kept()) == {"bad": 20}


async def stream(error, record):
    """Answer with a stream that breaks, or does not end."""
    completion = Completion.live()
    await completion.feed(Chunk("so"))
    record["completion"] = completion
    yield record
    await asyncio.sleep(0)
    if error is not None:
        error.node = "s"
        completion.finish(error)
    else:
        await completion.feed(Chunk(" it is", "stop"))
        completion.finish()


class LiveSink(ListSink):
    """Takes live completions."""

    forwards_live = True


def test_a_stream_that_breaks_goes_on_at_the_stage_that_began_it(keeping, kept):
    """With the fields that this stage was given, although a sink found out."""

    async def read(record):
        await record["completion"].whole()

    error = WorkerError("unavailable", "cut")
    plugins = {"in": ListSource(records(1)), "s": FunctionStage(partial(stream, error)), "out": LiveSink(read)}
    flow = Flow(plugins, ["in -> s", "s -> out"], {"s": {"live": True}}, **keeping)
    asyncio.run(flow.run())
    [letter] = kept()
    assert (letter.node, letter.place, letter.code) == ("s", "out", "worker-unavailable")
    assert unpack(letter.fields) == {"n": 0}


def test_a_live_completion_is_awaited(keeping, kept):
    """The letter has the whole answer, however early the sink gave up."""

    async def refuse(record):
        raise RecordError("no")

    plugins = {"in": ListSource(records(1)), "s": FunctionStage(partial(stream, None)), "out": LiveSink(refuse)}
    flow = Flow(plugins, ["in -> s", "s -> out"], {"s": {"live": True}}, **keeping)
    asyncio.run(flow.run())
    [letter] = kept()
    assert letter.node == "out"
    assert unpack(letter.fields)["completion"].text == "so it is"
    assert letter.as_text == {"fields": [], "accepted": []}


def test_what_json_cannot_hold_is_named(keeping, kept):
    """For the replay: a field, or what came with the record."""
    records = [Record({"n": 1, "odd": {1, 2}}, "a"), Record({"n": 1}, "b", meta={"odd": {1, 2}})]
    asyncio.run(chain(records, fail, **keeping).run())
    as_text = {letter.record: letter.as_text for letter in kept()}
    assert as_text == {
        "a": {"fields": ["odd"], "accepted": ["odd"]},
        "b": {"fields": ["meta"], "accepted": ["meta"]},
    }


def test_a_thread_that_was_left_behind_changes_no_letter(keeping, kept):
    """It may write into what it was given as long as it likes."""
    told = threading.Event()

    def slow(record):
        told.wait(10)
        record["n"] = "late"

    flow = chain(records(1), slow, **keeping)
    object.__setattr__(flow.plan.nodes["s0"], "timeout_s", 0.001)
    flow.plugins["in"].settle = lambda record, outcome: told.set()
    asyncio.run(flow.run())
    [letter] = kept()
    assert (letter.code, unpack(letter.fields)) == ("timeout", {"n": 0})


class Options(BaseModel):
    """Has a secret."""

    key: SecretStr = SecretStr("sk-123456")


def test_a_letter_tells_no_secret_but_the_record_s_own(keeping, kept):
    """Neither its message nor its chain; fields are never altered."""

    def leak(record):
        raise ValueError("no sk-123456") from KeyError("sk-123456")

    flow = chain([Record({"n": "sk-123456"}, "a")], leak, **keeping)
    object.__setattr__(flow.plan.nodes["s0"], "options", Options())
    asyncio.run(flow.run())
    [letter] = kept()
    assert "sk-123456" not in letter.message + str(letter.chain)
    assert unpack(letter.fields) == {"n": "sk-123456"}


def full_disk(monkeypatch, pages):
    """Let no store grow beyond so many pages."""
    connect = open_database

    def limited(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    monkeypatch.setattr(letters_module, "open_database", limited)


def test_a_full_disk_ends_the_intake_and_no_record_twice(path, kept, monkeypatch):
    """What could not be kept has failed all the same, and is counted; the run says why it ended."""
    full_disk(monkeypatch, 20)
    source = ListSource(Record({"n": "x" * 1000}, str(n)) for n in range(10_000))
    plugins = {"in": source, "s": FunctionStage(fail), "out": ListSink()}
    flow = Flow(plugins, ["in -> s", "s -> out"], dead_letters=DeadLettersPlan(path), max_in_flight=20)
    report = asyncio.run(flow.run())
    assert report["exit_code"] == 1
    assert "database or disk is full" in report["stopped_by"]
    assert str(path) in report["stopped_by"]
    assert report["accepted"] < 1000
    assert report["nodes"]["s"]["not_kept"] == report["accepted"] - len(kept()) > 0
    assert len(source.settled) == report["accepted"] == report["outcomes"]["failed"]


@pytest.mark.parametrize("limit", [1, 7])
def test_intake_stops_when_the_store_is_full(limit, path, kept):
    """What is in flight then is kept all the same; nothing is evicted; the next start is refused."""
    plan = {"dead_letters": DeadLettersPlan(path, limit), "max_in_flight": 5}
    flow = chain(records(1000), fail, **plan)
    report = asyncio.run(flow.run())
    assert report["exit_code"] == 1
    remedy = "`dagflow dlq replay` and `dagflow dlq purge` make room, and `max_records` allows more"
    assert f"`max_records` is {limit}; {remedy}" in report["stopped_by"]
    assert limit <= len(kept()) == report["accepted"] <= limit + 5
    opened = []

    class Sink(ListSink):
        async def open(self, context):
            opened.append(context)

    again = Flow({"in": ListSource(records(1)), "out": Sink()}, ["in -> out"], **plan)
    with pytest.raises(OpenFailed, match=r"dead_letters.*`max_records` is"):
        asyncio.run(again.run())
    assert opened == []


def test_room_that_others_make_counts(path, kept):
    """Letters that are purged while a run lasts stop nothing."""
    seen = []

    def settle(record, outcome):
        seen.append(record)
        with closing(open_database(path, LETTERS, create=False)) as store:
            commit_alone(store, lambda store: purge_letters(store, Selection()))

    flow = chain(records(20), fail, dead_letters=DeadLettersPlan(path, 3), max_in_flight=1)
    flow.plugins["in"].settle = settle
    report = asyncio.run(flow.run())
    assert len(seen) == 20
    assert report["exit_code"] == 65


def test_old_letters_go_while_a_run_lasts(path, kept, monkeypatch):
    """At the start, and now and then; never what is young."""
    monkeypatch.setattr(letters_module, "PURGE_EVERY_S", 0.001)
    now = 1000.0

    async def main():
        nonlocal now
        letters = Letters(DeadLettersPlan(path, max_age_s=60.0), clock=lambda: now)
        plan = chain(records(3), fail, dead_letters=DeadLettersPlan(path)).plan
        await Engine(plan, log=SILENT, letters=letters).run()
        assert letters.purged == 0
        again = Letters(DeadLettersPlan(path, max_age_s=60.0), clock=lambda: now)
        await again.open()
        assert (again.purged, again.in_store) == (0, 3)
        now = 1061.0
        with anyio.fail_after(10):
            while again.purged != 3:
                await asyncio.sleep(0)
        await again.close()
        assert again.in_store == 0

    asyncio.run(main())
    assert kept() == []


def test_a_disk_that_hangs_holds_no_run_for_ever(keeping, monkeypatch):
    """What is not committed in time has not been kept; the outcomes are told."""
    monkeypatch.setattr(engine_module, "CLOSE_TIMEOUT_S", 0.01)
    release = threading.Event()

    def hanging(store, letter, ids):
        release.wait(10)

    monkeypatch.setattr(letters_module, "_replace", hanging)
    flow = chain(records(3), fail, drain_timeout_s=0.01, **keeping)
    try:
        report = asyncio.run(flow.run())
    finally:
        release.set()
    assert flow.outcomes == {"failed": 3}
    assert report["nodes"]["s0"]["not_kept"] == 3
    assert len(flow.plugins["in"].settled) == 3


def test_a_store_that_is_none_stops_the_start(path):
    """With its path and what to do."""
    path.write_text("this is a text and no database")
    with pytest.raises(OpenFailed, match=r"`dead_letters` could not be opened: .*letters.db. cannot be used"):
        asyncio.run(chain(records(1), fail, dead_letters=DeadLettersPlan(path)).run())


def test_a_store_that_is_locked_too_long_is_told_like_any_other_trouble(path, kept, monkeypatch):
    """Another process may sit on it."""
    monkeypatch.setattr("dagflow.store.database.BUSY_TIMEOUT_S", 0.0)
    with closing(open_database(path, LETTERS, create=True)):
        pass
    locked = sqlite3.connect(path, isolation_level=None)

    async def main():
        flow = chain(records(2), fail, dead_letters=DeadLettersPlan(path))
        engine = flow.engine()

        async def lock(record):
            locked.in_transaction or locked.execute("BEGIN IMMEDIATE")
            raise RecordError("no")

        flow.plugins["s0"].process = lock
        return await engine.run()

    try:
        report = asyncio.run(main())
    finally:
        locked.close()
    assert report["exit_code"] == 1
    assert report["nodes"]["s0"]["not_kept"] == 2
    assert "database is locked" in report["stopped_by"]


def test_nothing_waits_for_the_garbage_collector(tmp_path):
    """Copies of a record that went through a stage that streams let go of their ticket, too."""

    async def stream(record):
        yield record

    plugins = {
        "in": ListSource(record for record in records(50)),
        "a": FunctionStage(stream),
        "b": FunctionStage(stream),
    }
    plugins["out"] = ListSink()
    edges = ["in -> a", "in -> b", "a -> out", "b -> out"]
    flow = Flow(plugins, edges, dead_letters=DeadLettersPlan(tmp_path / "letters.db"))
    gc.collect()
    gc.disable()
    try:
        before = {id(each) for each in gc.get_objects()}
        asyncio.run(flow.run())
        left = [each for each in gc.get_objects() if isinstance(each, Ticket) and id(each) not in before]
    finally:
        gc.enable()
    assert len(left) < 10
