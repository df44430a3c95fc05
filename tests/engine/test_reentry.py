"""Reentry: dead letters that go back into the pipeline that is running."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import asynccontextmanager, closing

import pytest
from listening import admin_at, until
from rigs import Flow, FunctionStage, ListSink, ListSource, check_balance, edge_of, records

from dagflow.engine.reentry import AlreadyReplaying
from dagflow.engine.replay import choose_entries
from dagflow.errors import PipelineClosed, RecordError
from dagflow.expressions import Expression
from dagflow.graph.plan import DeadLettersPlan, JoinPlan
from dagflow.plugin import Source
from dagflow.store.database import open_database
from dagflow.store.letter import Selection
from dagflow.store.letters import LETTERS, find_letters

pytestmark = pytest.mark.anyio


class Live(Source):
    """Hands in four records, then waits for more, until it is told to end."""

    finite = False

    def __init__(self, given=None):
        super().__init__()
        self.given = records(4) if given is None else given
        self.more = asyncio.Event()

    async def records(self):
        """Give the records, and wait."""
        for record in self.given:
            yield record
        await self.more.wait()


class Shop:
    """A live source, a stage that fails for odd numbers until it is mended, and a sink."""

    def __init__(self, folder, edges=("in -> a", "a -> b", "b -> out"), settings=None, source=None, **stages):
        self.path = folder / "letters.db"
        self.mended = False
        self.sink = ListSink()
        self.source = source or Live()
        plugins = {"in": self.source, "a": FunctionStage(self.add), "b": FunctionStage(self.work)}
        plugins |= {name: FunctionStage(stage) for name, stage in stages.items()}
        plan = {"dead_letters": DeadLettersPlan(self.path), "admin": admin_at(folder)}
        self.flow = Flow(plugins | {"out": self.sink}, edges, settings, **plan)
        self.engine = self.flow.engine()

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

    def replay(self, from_start=False):
        """Send all in that can be."""
        entries, _ = choose_entries(self.flow.plan, self.letters(), from_start)
        return self.engine.replay(entries, self.letters)

    @asynccontextmanager
    async def open(self, settled=4):
        """Run until the block ends; the block begins when so many records have settled."""
        run = asyncio.ensure_future(self.engine.run())
        await until(lambda: sum(self.engine.report()["outcomes"].values()) == settled)
        yield
        self.engine.stop("test")
        check_balance(await run)


@pytest.mark.parametrize("from_start", [False, True])
async def test_what_failed_goes_on_beside_what_is_new(tmp_path, from_start):
    """Once mended, each is delivered once, no letter is left, and the books of the run have them."""
    shop = Shop(tmp_path)
    async with shop.open():
        shop.mended = True
        replay = shop.replay(from_start)
        await until(lambda: replay.is_over)
        assert replay.as_dict() | {"began": 0} == {
            "state": "over",
            "number": 1,
            "total": 2,
            "handed_in": 2,
            "gone": 0,
            "error": None,
            "began": 0,
            "outcomes": {"delivered": 2},
        }
    assert sorted(shop.sink.ids) == ["0", "1", "2", "3"]
    assert all(fields == {"n": int(id), "a": 1, "b": 1} for id, fields in shop.sink.written)
    assert shop.letters() == []
    report = shop.engine.report()
    assert (report["accepted"], report["outcomes"]["delivered"]) == (6, 4)
    assert report["nodes"]["a"]["taken"] == (6 if from_start else 4)


async def test_what_fails_again_has_one_letter_again(tmp_path):
    """The new one takes the place of the old one, and counts a replay more."""
    shop = Shop(tmp_path)
    async with shop.open():
        before = [letter.id for letter in shop.letters()]
        replay = shop.replay()
        await until(lambda: replay.is_over)
        after = shop.letters()
        assert [(letter.record, letter.replays) for letter in after] == [("1", 1), ("3", 1)]
        assert not set(before) & {letter.id for letter in after}
        shop.mended = True
        again = shop.replay()
        await until(lambda: again.is_over)
        assert again.number == 2
    assert shop.letters() == []


async def test_one_replay_at_a_time(tmp_path):
    """While records of one are in flight, another is refused: nothing is sent in twice."""
    held = asyncio.Event()

    async def hold(record):
        if "again" in shop.state:
            await held.wait()
        return record

    shop = Shop(tmp_path, ("in -> a", "a -> b", "b -> c", "c -> out"), c=hold)
    shop.state = set()
    async with shop.open():
        shop.mended = True
        shop.state.add("again")
        replay = shop.replay()
        await until(lambda: replay.handed_in == 2)
        with pytest.raises(AlreadyReplaying):
            shop.replay()
        held.set()
        await until(lambda: replay.is_over)
    assert sorted(shop.sink.ids) == ["0", "1", "2", "3"]


async def test_the_condition_of_an_edge_was_met_before(tmp_path):
    """A record enters its node past the condition of the edge that it comes by."""
    edges = ("in -> a", edge_of("a -> b", when=Expression("b is not defined")), "b -> out")
    shop = Shop(tmp_path, edges)
    async with shop.open():
        shop.mended = True
        replay = shop.replay()
        await until(lambda: replay.is_over)
    assert replay.outcomes == {"delivered": 2}


async def test_whole_records_meet_at_a_join_again(tmp_path):
    """From the start, all branches come, and are joined."""
    edges = ("in -> a", "in -> b", "a -> j", "b -> j", "j -> out")

    async def same(record):
        return record

    shop = Shop(tmp_path, edges, {"j": {"join": JoinPlan("all")}}, j=same)
    async with shop.open():
        assert len(shop.letters()) == 2
        shop.mended = True
        replay = shop.replay(from_start=True)
        await until(lambda: replay.is_over)
        assert replay.outcomes == {"delivered": 2}
    assert sorted(shop.sink.ids) == ["0", "1", "2", "3"]
    assert all(fields == {"n": int(id), "a": 1, "b": 1} for id, fields in shop.sink.written)


async def test_letters_stay_when_the_run_ends_first(tmp_path):
    """What finds its edge closed, or is not sent in any more, is lost nowhere."""
    held = asyncio.Event()

    async def hold(record):
        if record["n"] == 3:
            await held.wait()
        return record

    edges = ("in -> a", "a -> b", "b -> out", "in -> c", "c -> out")
    shop = Shop(tmp_path, edges, source=ListSource(records(4)), c=hold)
    run = asyncio.ensure_future(shop.engine.run())
    await until(lambda: shop.path.exists() and shop.engine.report()["in_flight"] == 1)  # `a -> b` is closed by now
    shop.mended = True
    replay = shop.replay()
    await until(lambda: replay.is_over)
    assert replay.outcomes == {"cancelled": 2}
    held.set()
    check_balance(await run)
    assert sorted({letter.record for letter in shop.letters()}) == ["1", "3"]
    with pytest.raises(PipelineClosed):
        shop.replay()


async def test_letters_that_are_gone_are_counted(tmp_path):
    """A letter that somebody has removed meanwhile is not sent in."""
    shop = Shop(tmp_path)
    async with shop.open():
        entries, _ = choose_entries(shop.flow.plan, shop.letters(), False)
        replay = shop.engine.replay(entries, lambda ids: [])
        await until(lambda: replay.is_over)
        assert (replay.gone, replay.handed_in) == (2, 0)


async def test_a_store_that_cannot_be_read_is_told(tmp_path):
    """The replay ends with the reason; the run goes on."""

    def read(ids):
        raise OSError("the disk is gone")

    shop = Shop(tmp_path)
    async with shop.open():
        entries, _ = choose_entries(shop.flow.plan, shop.letters(), False)
        replay = shop.engine.replay(entries, read)
        await until(lambda: replay.is_over)
        assert "the disk is gone" in replay.error
        shop.mended = True
        again = shop.replay()
        await until(lambda: again.is_over)
        assert again.outcomes == {"delivered": 2}
        assert again.error is None


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("drain_timeout_s", [30.0, 0.01])
async def test_nothing_is_lost_or_doubled_whenever_the_run_ends(tmp_path, seed, drain_timeout_s):
    """Records fail at random and are replayed until the run is stopped: each came through once, or has one letter."""
    dice, count = random.Random(seed), 60
    accepted, delivered = set(), Counter()

    async def work(record):
        accepted.add(record["n"])
        for _ in range(dice.randrange(8)):
            await asyncio.sleep(0)
        if dice.random() < 0.4:
            raise RecordError("broken")
        return record

    async def write(record):
        delivered[record["n"]] += 1

    path = tmp_path / "letters.db"
    plugins = {"in": Live(records(count)), "a": FunctionStage(work), "b": FunctionStage(work), "out": ListSink(write)}
    settings = {"a": {"concurrency": 3}, "b": {"concurrency": 2}}
    plan = {"dead_letters": DeadLettersPlan(path), "admin": admin_at(tmp_path), "drain_timeout_s": drain_timeout_s}
    edges = [edge_of("in -> a", capacity=2), edge_of("a -> b", capacity=2), "b -> out"]
    flow = Flow(plugins, edges, settings, max_in_flight=12, **plan)
    engine = flow.engine()

    def letters(ids=None):
        with closing(open_database(path, LETTERS, create=False)) as store:
            return list(find_letters(store, Selection(ids=tuple(ids or ())), payloads=True))

    run = asyncio.ensure_future(engine.run())
    await engine.started.wait()
    for _ in range(dice.randrange(2, 8)):
        entries, _ = choose_entries(flow.plan, letters(), from_start=dice.random() < 0.3)
        replay = engine.replay(entries, letters)
        await until(lambda replay=replay: replay.is_over)
    replay = engine.replay(choose_entries(flow.plan, letters(), from_start=False)[0], letters)
    await until(lambda: replay.is_over or replay.handed_in >= dice.randrange(1, 9))
    engine.stop("test")
    report = await run
    check_balance(report)
    kept = Counter(int(letter.record) for letter in letters())
    assert report["dead_letters"]["in_store"] == kept.total()
    assert not [n for n, times in (delivered + kept).items() if times != 1]
    assert accepted <= (delivered | kept).keys()
