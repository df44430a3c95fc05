"""What a plugin may give for a record: each branch is a record of its own, with the ticket of the one it came from."""

from __future__ import annotations

import asyncio
import copy
import threading

import pytest
from rigs import Flow, FunctionStage, ListSink, ListSource, chain, check_told_once, edge_of, records

from dagflow.errors import UnreadableRecord
from dagflow.expressions import Expression
from dagflow.record import Outcome, Record, UnreadableInput

pytestmark = pytest.mark.anyio


async def same(record):
    """A stage that changes nothing."""
    return record


async def check_all_delivered(flow, ids):
    """Run, and check that every record was delivered, with these ids at the sink."""
    report = await flow.run()
    assert flow.outcomes == {"delivered": report["accepted"]}
    assert flow.plugins["out"].ids == ids
    check_told_once(flow.plugins["in"], report)
    return report


@pytest.mark.parametrize(
    "split",
    [
        lambda record: [record, record],
        lambda record: [record, Record({"new": True})],
        lambda record: [record.copy(), record.copy()],
        lambda record: (part for part in [Record()] * 2),
    ],
)
async def test_parts_are_records_of_their_own(split):
    """The same object twice, the record that came in, copies of it: each part has its own name and fields."""

    async def stage(record):
        return split(record)

    async def mark(record):
        assert "marked" not in record
        record["marked"] = True
        return record

    flow = chain(records(2), stage, mark)
    await check_all_delivered(flow, ["0/0", "0/1", "1/0", "1/1"])
    assert [id for id, _ in flow.plugins["in"].settled] == ["0", "1"]


async def test_a_generator_may_yield_the_record_itself():
    """It keeps its name if it comes first; what follows is named after it."""

    async def stage(record):
        yield record
        yield Record({"more": True})
        yield record

    await check_all_delivered(chain(records(2), stage), ["0", "0/1", "0/2", "1", "1/1", "1/2"])


async def test_a_record_of_an_earlier_call_lends_its_fields():
    """It belongs to another ticket, which may have settled: what goes on is a branch of the record at hand."""
    kept = []

    async def keep_first(record):
        kept.append(record)
        return kept[0]

    flow = chain(records(3), keep_first, same)
    await check_all_delivered(flow, ["0", "1", "2"])
    assert [fields for _, fields in flow.plugins["out"].written] == [{"n": 0}] * 3


async def test_a_record_of_an_earlier_call_goes_where_its_port_says():
    """Choosing a port for it is choosing where the record at hand goes."""
    kept = []

    async def route(record):
        kept.append(record)
        kept[0].port = "x"
        return kept[0]

    plugins = {"in": ListSource(records(3)), "s": FunctionStage(route), "x": ListSink(), "out": ListSink()}
    flow = Flow(plugins, ["in -> s", "s.x -> x", "s -> out"], {"s": {"ports": frozenset({"x"})}})
    await flow.run()
    assert plugins["x"].ids == ["0", "1", "2"]


async def test_a_stage_may_collect_records_and_send_them_together():
    """The collected ones were filtered; the last one stands for all."""
    kept = []

    async def collect(record):
        kept.append(record)
        return list(kept) if len(kept) == 3 else None

    flow = chain(records(3), collect)
    await flow.run()
    assert flow.outcomes == {"filtered": 2, "delivered": 1}
    assert flow.plugins["out"].written == [("2/0", {"n": 0}), ("2/1", {"n": 1}), ("2/2", {"n": 2})]


async def test_a_source_may_hand_in_one_object_again_and_again():
    """Each time is a record with a ticket of its own."""
    flow = chain([Record({"n": 0}, "x")] * 5, same)
    await check_all_delivered(flow, ["x"] * 5)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
async def test_a_copied_record_keeps_its_ticket(duplicate):
    """Python's own ways to copy work too."""

    async def stage(record):
        twin = duplicate(record)
        assert twin is not record
        return twin

    await check_all_delivered(chain(records(2), stage), ["0", "1"])


async def test_a_deep_copy_shares_no_value():
    """What it changes stays its own."""
    record = Record({"list": [1]}, "a", "s", 3, 5.0, {"k": 1})
    twin = copy.deepcopy(record)
    twin["list"].append(2)
    assert record == record
    assert record["list"] == [1]
    assert (twin.id, twin.session, twin.priority, twin.deadline, twin.meta) == ("a", "s", 3, 5.0, {"k": 1})


@pytest.mark.parametrize("settings", [{}, {"out": {"timeout_s": 5.0}}])
async def test_whatever_a_sink_returns_it_has_delivered(settings):
    """A sink's result means nothing, be it the record."""
    plugins = {"in": ListSource(records(2)), "out": ListSink(same)}
    flow = Flow(plugins, ["in -> out"], settings)
    await flow.run()
    assert flow.outcomes == {"delivered": 2}


@pytest.mark.parametrize(("unmatched", "outcome"), [("fail", "failed"), ("filter", "filtered")])
async def test_a_declared_port_without_an_edge_matches_nothing(unmatched, outcome):
    """Its records end as the node says of those that no edge takes."""

    async def route(record):
        record.port = "x"
        return record

    plugins = {"in": ListSource(records(2)), "s": FunctionStage(route), "out": ListSink()}
    flow = Flow(plugins, ["in -> s", "s -> out"], {"s": {"ports": frozenset({"x"}), "unmatched": unmatched}})
    await flow.run()
    assert flow.outcomes == {outcome: 2}


async def test_a_port_that_is_not_declared_is_told_where_it_was_chosen():
    """It neither passes unseen nor fails at a node behind."""

    async def route(record):
        record.port = "large"
        return record

    flow = chain(records(1), route, same)
    report = await flow.run()
    [error] = report["errors"]
    assert (error["node"], error["code"]) == ("s0", "not-a-result")
    expected = "the plugin gave a record for the port `large`; expected one of the ports that it declares"
    assert error["message"] == expected


async def test_a_port_that_a_source_does_not_declare_is_told_too():
    """The record fails at the source."""
    record = Record({"n": 0}, "0")
    record.port = "large"
    flow = chain([record], same)
    report = await flow.run()
    assert [(error["node"], error["code"]) for error in report["errors"]] == [("in", "not-a-result")]


async def test_a_source_may_have_its_own_kind_of_unreadable_input():
    """A subclass is no record either."""

    class BadLine(UnreadableInput):
        __slots__ = ()

    flow = chain([BadLine(UnreadableRecord("x:1", "no JSON"))], same)
    await flow.run()
    assert flow.outcomes == {"failed": 1}


async def test_done_counts_records_and_not_their_parts():
    """Ten parts that no edge takes fail ten times, yet the stage has processed two records."""

    async def split(record):
        return [Record({"part": part}) for part in range(5)]

    plugins = {"in": ListSource(records(2)), "s": FunctionStage(split), "out": ListSink()}
    flow = Flow(plugins, ["in -> s", edge_of("s -> out", when=Expression("false"))])
    report = await flow.run()
    row = report["nodes"]["s"]
    assert (row["taken"], row["done"], row["failed"]) == (2, 2, 10)


async def test_many_parts_leave_others_their_turn():
    """A stage that sends thousands of records into an edge that sheds yields again and again."""

    async def split(record):
        return [Record() for _ in range(5000)]

    async def generate(record):
        for _ in range(5000):
            yield Record()

    for stage in (split, generate):
        plugins = {"in": ListSource(records(1)), "s": FunctionStage(stage), "out": ListSink()}
        flow = Flow(plugins, ["in -> s", edge_of("s -> out", capacity=1, when_full="drop_newest")])
        engine = flow.engine()
        running = asyncio.ensure_future(engine.run())
        turns = 0
        while not running.done():
            await asyncio.sleep(0)
            turns += 1
        await running
        assert turns > 5000 // 128


async def test_a_plain_generator_runs_in_its_thread():
    """Not only its call: its body, too, leaves the event loop alone."""
    threads = set()

    def parts(record):
        for part in range(2):
            threads.add(threading.current_thread() is threading.main_thread())
            yield Record({"part": part})

    await check_all_delivered(chain(records(2), parts), ["0/0", "0/1", "1/0", "1/1"])
    assert threads == {False}


async def test_an_iterable_that_breaks_fails_its_record():
    """What it gave before is not sent."""

    class Broken:
        def __iter__(self):
            yield Record()
            raise ValueError("half")

    async def stage(record):
        return Broken()

    flow = chain(records(1), stage)
    report = await flow.run()
    assert flow.plugins["in"].settled == [("0", Outcome.FAILED)]
    assert report["nodes"]["s0"]["done"] == 0
