"""Joins: branches of one record come together, whatever became of the others."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from rigs import Flow, FunctionStage, ListSink, ListSource, edge_of, records

from dagflow.channel.channel import Channel
from dagflow.channel.doorbell import Doorbell
from dagflow.context import ChannelLinks
from dagflow.engine.join import Join
from dagflow.engine.place import NOWHERE, Place
from dagflow.errors import EndOfStream, RecordError, WouldBlock
from dagflow.expressions import Expression
from dagflow.graph.plan import JoinPlan, NodePlan
from dagflow.plugin import NoOptions
from dagflow.record import Outcome, Record, Ticket

ALL = JoinPlan("all")
PARTIAL = JoinPlan("all", on_missing="partial")
ANY = JoinPlan("any")


async def same(record):
    """Pass a record on."""
    return record


def writing(name, value=True):
    """A stage that writes one field."""

    async def process(record):
        record[name] = value
        return record

    return process


async def filtering(record):
    """Filter everything out."""


async def failing(record):
    """Fail everything."""
    raise RecordError("no")


def diamond(left, right, join=ALL, count=3, edges=None, sink=None, settings=None, source=None, **plan):
    """A fork into `left` and `right`, joined at `j`."""
    stages = {"fork": same, "left": left, "right": right, "j": same}
    plugins = {"in": source or ListSource(records(count))}
    plugins |= {name: FunctionStage(function) for name, function in stages.items()}
    plugins["out"] = sink or ListSink()
    edges = edges or ["in -> fork", "fork -> left", "fork -> right", "left -> j", "right -> j", "j -> out"]
    return Flow(plugins, edges, {"j": {"join": join}} | (settings or {}), **plan)


def run(flow):
    """Run a flow and give it back."""
    asyncio.run(flow.run())
    return flow


def join_of(flow, name="j"):
    """What the report says of a join."""
    return {key: value for key, value in flow.report["nodes"][name]["join"].items() if value}


def test_all_merges_the_fields_of_both_branches():
    """One record comes out for each that went in, with what both branches wrote."""
    flow = run(diamond(writing("a"), writing("b")))
    assert flow.outcomes == {"delivered": 3}
    assert sorted(flow.plugins["out"].written) == [(str(n), {"n": n, "a": True, "b": True}) for n in range(3)]
    assert join_of(flow) == {"joined": 3}


@pytest.mark.parametrize("edges", [["left -> j", "right -> j"], ["right -> j", "left -> j"]])
def test_of_two_branches_that_write_one_field_the_later_edge_wins(edges):
    """Fields merge in the order of the edges in the file, whichever branch came first."""
    edges = ["in -> fork", "fork -> left", "fork -> right", *edges, "j -> out"]
    flow = run(diamond(writing("x", "left"), writing("x", "right"), edges=edges))
    winner = edges[-2].partition(" ")[0]
    assert {fields["x"] for _, fields in flow.plugins["out"].written} == {winner}


@pytest.mark.parametrize("edges", [["left -> j", "right -> j"], ["right -> j", "left -> j"]])
def test_a_branch_that_changed_nothing_takes_nothing_back(edges):
    """What one branch changed stands, though the other still has the old value."""
    edges = ["in -> fork", "fork -> left", "fork -> right", *edges, "j -> out"]
    flow = run(diamond(writing("n", "changed"), same, edges=edges))
    assert {fields["n"] for _, fields in flow.plugins["out"].written} == {"changed"}


@pytest.mark.parametrize("join", [ALL, PARTIAL])
def test_a_filtered_branch_is_not_missing(join):
    """The other branch goes on alone."""
    flow = run(diamond(writing("a"), filtering, join))
    assert flow.outcomes == {"delivered": 3}
    assert join_of(flow) == {"joined": 3}


def test_a_false_condition_is_not_missing():
    """A branch that was never sent is not waited for."""
    edges = ["in -> fork", "fork -> left", edge_of("fork -> right", when=Expression("n > 1")), "left -> j"]
    flow = run(diamond(writing("a"), writing("b"), edges=[*edges, "right -> j", "j -> out"]))
    assert [("b" in fields) for _, fields in sorted(flow.plugins["out"].written)] == [False, False, True]
    assert flow.outcomes == {"delivered": 3}


def test_a_branch_that_went_elsewhere_is_not_missing():
    """A condition behind the fork may lead a branch past the join."""
    edges = ["in -> fork", "fork -> left", "fork -> right", "left -> j", "j -> out"]
    edges += [edge_of("right -> j", when=Expression("n == 0")), edge_of("right -> out", when=Expression("n > 0"))]
    flow = run(diamond(writing("a"), writing("b"), edges=edges))
    assert flow.outcomes == {"delivered": 3}
    assert join_of(flow) == {"joined": 3}
    assert len(flow.plugins["out"].written) == 5


def test_a_second_fork_on_the_way():
    """What a branch wrote before it forked again is not taken back by one that left it alone."""
    plugins = {"in": ListSource(records(2))}
    functions = {"fork": same, "left": writing("n", "changed"), "x": writing("x"), "y": writing("y"), "j": same}
    plugins |= {name: FunctionStage(function) for name, function in functions.items()}
    plugins["out"] = ListSink()
    edges = ["in -> fork", "fork -> left", "left -> x", "left -> y", "x -> j", "y -> j", "fork -> j", "j -> out"]
    flow = run(Flow(plugins, edges, {"j": {"join": ALL}}))
    assert [fields for _, fields in plugins["out"].written] == [{"n": "changed", "x": True, "y": True}] * 2
    assert flow.outcomes == {"delivered": 2}


def test_a_join_does_not_wait_for_what_it_has():
    """Once a branch came over each edge the record goes on, though a stage on the way might still give more."""
    delivered = anyio.Event()

    async def generating(record):
        yield record
        await delivered.wait()

    async def write(record):
        delivered.set()

    flow = run(diamond(generating, writing("b"), count=1, sink=ListSink(write)))
    assert flow.outcomes == {"delivered": 1}


def test_all_branches_filtered_is_filtered():
    """A join that gets nothing hands on nothing."""
    flow = run(diamond(filtering, filtering))
    assert flow.outcomes == {"filtered": 3}
    assert join_of(flow) == {}


def test_a_failed_branch_fails_the_record_once():
    """The record ends as its lost branch did; no second failure is counted at the join."""
    flow = run(diamond(writing("a"), failing))
    assert flow.outcomes == {"failed": 3}
    assert join_of(flow) == {"incomplete": 3}
    assert flow.plugins["out"].written == []
    assert [(fault["node"], fault["count"]) for fault in flow.report["errors"]] == [("right", 3)]


def test_a_partial_join_goes_on_without_a_failed_branch():
    """What came is delivered, and so is the record."""
    flow = run(diamond(writing("a"), failing, PARTIAL))
    assert flow.outcomes == {"delivered": 3}
    assert join_of(flow) == {"joined": 3, "partial": 3}
    assert [fields for _, fields in flow.plugins["out"].written] == [{"n": n, "a": True} for n in range(3)]


def test_a_partial_join_that_gets_nothing_fails():
    """If both branches failed, somebody has to say so."""
    flow = run(diamond(failing, failing, PARTIAL))
    assert flow.outcomes == {"failed": 3}


@pytest.mark.parametrize(("join", "outcome"), [(ALL, "shed"), (PARTIAL, "delivered"), (ANY, "delivered")])
def test_a_shed_branch(join, outcome):
    """A branch that a full edge shed ends the record as shed, unless the join goes on without it."""
    gate = anyio.Event()

    async def wait(record):
        await gate.wait()
        return record

    edges = ["in -> fork", edge_of("fork -> left", capacity=1, when_full="drop_newest"), "fork -> right"]

    async def release(record):
        if record["n"] == 4:
            gate.set()
        return record

    flow = run(diamond(wait, release, join, 5, [*edges, "left -> j", "right -> j", "j -> out"]))
    lost = flow.report["edges"]["fork -> left"]["shed"]
    assert lost > 0
    expected = {"delivered": 5 - lost, outcome: lost} if outcome == "shed" else {"delivered": 5}
    assert flow.outcomes == expected


def test_a_branch_that_an_error_port_took_is_missing():
    """Its error was handled, but the join still lacks it, and no outcome says why."""
    edges = ["in -> fork", "fork -> left", "fork -> right", "left -> j", "right -> j", "j -> out"]
    settings = {"right": {"on_error": "port"}}
    flow = run(diamond(writing("a"), failing, edges=[*edges, "right.error -> out"], settings=settings))
    assert flow.outcomes == {"failed": 3}
    assert [(f["node"], f["code"]) for f in flow.report["errors"]] == [("right", "record"), ("j", "join-incomplete")]


def test_an_error_port_may_lead_to_the_join():
    """A fallback behind the error port is a branch like any other."""
    edges = ["in -> fork", "fork -> left", "fork -> right", "left -> j", "right -> j", "j -> out", "right.error -> j"]
    flow = run(diamond(writing("a"), failing, edges=edges, settings={"right": {"on_error": "port"}}))
    assert flow.outcomes == {"delivered": 3}
    assert all("error" in fields and "a" in fields for _, fields in flow.plugins["out"].written)


def test_the_error_port_of_a_join_takes_what_is_incomplete():
    """It gets what came, with the error."""
    edges = ["in -> fork", "fork -> left", "fork -> right", "left -> j", "right -> j", "j -> out", "j.error -> out"]
    flow = run(diamond(writing("a"), failing, edges=edges, settings={"j": {"join": ALL, "on_error": "port"}}))
    assert flow.outcomes == {"delivered": 3}
    assert {fields["error"]["code"] for _, fields in flow.plugins["out"].written} == {"join-incomplete"}
    assert all(fields["a"] for _, fields in flow.plugins["out"].written)


def test_two_parts_at_one_input_are_an_error():
    """A join takes one record of a ticket over each edge."""

    async def split(record):
        return [record, Record({"part": 1})]

    flow = run(diamond(writing("a"), split, count=1))
    assert flow.outcomes == {"failed": 1}
    assert [fault["code"] for fault in flow.report["errors"]] == ["join-split"]


def test_any_takes_the_first_and_drops_the_rest():
    """The slow branch is released, contributes nothing, and is counted as late."""
    fast_is_out = anyio.Event()

    async def slow(record):
        await fast_is_out.wait()
        raise RecordError("too late to matter") if record["n"] else record

    async def write(record):
        written.append(dict(record))
        fast_is_out.set()

    written = []
    edges = ["in -> fork", "fork -> left", "fork -> right", "left -> j", "right -> j", "j -> out"]
    flow = run(diamond(writing("a"), slow, ANY, 2, edges, sink=ListSink(write)))
    assert flow.outcomes == {"delivered": 2}
    assert all("a" in fields for fields in written)
    assert len(written) == 2


def test_any_counts_the_losers():
    """Both come; one is late."""
    flow = run(diamond(same, same, ANY))
    assert flow.outcomes == {"delivered": 3}
    assert join_of(flow) == {"joined": 3, "late": 3}


def test_any_falls_back_to_the_branch_that_is_left():
    """A first branch that fails is no answer."""
    flow = run(diamond(failing, writing("b"), ANY))
    assert flow.outcomes == {"delivered": 3}
    assert all("b" in fields for _, fields in flow.plugins["out"].written)


@pytest.mark.parametrize(("on_missing", "outcome"), [("fail", "failed"), ("partial", "delivered")])
def test_a_branch_that_takes_too_long(on_missing, outcome):
    """After `join_timeout` the join goes on or fails; the branch that comes later is dropped."""
    done = anyio.Event()

    async def stuck(record):
        await done.wait()
        return record

    join = JoinPlan("all", 0.001, on_missing)
    flow = diamond(writing("a"), stuck, join, count=1)

    async def main():
        engine = flow.engine()
        running = asyncio.ensure_future(engine.run())
        while not engine.started.is_set() or not engine.report()["nodes"]["j"]["join"]["timed_out"]:
            await asyncio.sleep(0)
        done.set()
        flow.report = await running

    asyncio.run(main())
    assert flow.outcomes == {outcome: 1}
    gone_on = {"joined": 1, "partial": 1} if on_missing == "partial" else {}
    assert join_of(flow) == {"timed_out": 1, "late": 1} | gone_on
    assert [fault["code"] for fault in flow.report["errors"]] == (["join-timeout"] if on_missing == "fail" else [])


def test_a_deadline_passes_in_the_join():
    """A record that waits for its other branch, which stands behind another record, expires there."""
    done = anyio.Event()

    async def stuck(record):
        await done.wait()
        return record

    # On a clock that stands still it cannot expire on its way to the join, however busy the machine is.
    late = Record({"n": 1}, "1", deadline=0.01)
    flow = diamond(writing("a"), stuck, source=ListSource([Record({"n": 0}, "0"), late]))

    async def main():
        engine = flow.engine(clock=lambda: 0.0)
        running = asyncio.ensure_future(engine.run())
        while not engine.started.is_set() or not engine.report()["nodes"]["j"]["expired"]:
            await asyncio.sleep(0)
        done.set()
        flow.report = await running

    asyncio.run(main())
    assert flow.outcomes == {"delivered": 1, "expired": 1}


@pytest.mark.parametrize("join", [ALL, PARTIAL])
def test_a_failure_counts_for_more_than_a_deadline(join):
    """A branch had failed already when the deadline passed, so the join made up for nothing."""

    async def stuck(record):
        await anyio.sleep_forever()

    source = ListSource(records(1, deadline=0.05))
    edges = ["in -> fork", "fork -> left", "fork -> right", "left -> j", "right -> j", "fork -> j", "j -> out"]
    flow = diamond(failing, stuck, join, source=source, edges=edges)
    asyncio.run(flow.run(clock=lambda: 0.0))
    assert flow.outcomes == {"failed": 1}


@pytest.mark.anyio
async def test_a_record_whose_deadline_passed_while_no_slot_was_free():
    """It was complete in time, and is not processed all the same."""
    now = [0.0]
    join, channels, record = waiting_for_two(now=lambda: now[0])
    expired = []
    join.on_expired = lambda: expired.append(now[0])
    record.deadline = 5.0
    record.ticket.fork(1)  # so that its end does not settle the ticket, which nobody owns
    channels[0].send_nowait(record)
    with pytest.raises(WouldBlock):
        join.receive_nowait()
    join.expect(record.ticket, -1)
    assert join.waiting == 1
    now[0] = 5.0
    with pytest.raises(WouldBlock):
        join.receive_nowait()
    assert expired == [5.0]
    assert record.ticket.outcome is Outcome.EXPIRED


def test_cancelling_ends_what_waits_in_the_join():
    """Both the branch in the table and the one under way end."""
    done = anyio.Event()

    async def stuck(record):
        await done.wait()
        return record

    flow = diamond(writing("a"), stuck, source=ListSource(records(1), can_cancel=True))

    async def main():
        engine = flow.engine()
        running = asyncio.ensure_future(engine.run())
        while not engine.started.is_set() or not engine.report()["nodes"]["j"]["join"]["waiting"]:
            await asyncio.sleep(0)
        next(iter(engine.wiring.book.live)).cancel()
        flow.report = await running

    asyncio.run(main())
    assert flow.outcomes == {"cancelled": 1}
    assert join_of(flow) == {}


def test_cancelling_the_losers_takes_nothing_from_the_winner():
    """What was delivered stays so, if its record is cancelled before the slower branch has come."""
    delivered = anyio.Event()

    async def stuck(record):
        await anyio.sleep_forever()

    async def write(record):
        delivered.set()

    source = ListSource(records(1), can_cancel=True)
    flow = diamond(same, stuck, ANY, source=source, sink=ListSink(write))

    async def main():
        engine = flow.engine()
        running = asyncio.ensure_future(engine.run())
        await delivered.wait()
        while engine.report()["nodes"]["out"]["done"] < 1:
            await asyncio.sleep(0)
        next(iter(engine.wiring.book.live)).cancel()
        flow.report = await running

    asyncio.run(main())
    assert flow.outcomes == {"delivered": 1}


def test_a_failure_counts_for_more_than_a_cancellation():
    """A branch had failed already when the record was cancelled."""

    async def stuck(record):
        await anyio.sleep_forever()

    edges = ["in -> fork", "fork -> left", "fork -> right", "left -> j", "right -> j", "j -> out", "fork -> j"]
    flow = diamond(failing, stuck, source=ListSource(records(1), can_cancel=True), edges=edges)

    async def main():
        engine = flow.engine()
        running = asyncio.ensure_future(engine.run())
        while not engine.started.is_set() or not engine.report()["nodes"]["left"]["failed"]:
            await asyncio.sleep(0)
        next(iter(engine.wiring.book.live)).cancel()
        flow.report = await running

    asyncio.run(main())
    assert flow.outcomes == {"failed": 1}


def test_a_lost_branch_says_why_though_an_error_port_took_another():
    """The record ends as the one did that failed for good, without a second failure at the join."""
    edges = ["in -> fork", "fork -> left", "fork -> right", "fork -> j", "left -> j", "right -> j", "j -> out"]
    settings = {"left": {"on_error": "port"}}
    flow = run(diamond(failing, failing, edges=[*edges, "left.error -> out"], settings=settings))
    assert flow.outcomes == {"failed": 3}
    assert flow.report["nodes"]["j"]["failed"] == 0


def test_any_is_never_partial():
    """What it lacks is nothing that it waited for."""
    flow = run(diamond(failing, same, ANY))
    assert join_of(flow).get("partial", 0) == 0


@pytest.mark.anyio
async def test_a_timer_that_rings_too_early_is_set_again():
    """One timer serves all records; the one that it was set for may have gone on long ago."""
    now = [0.0]
    join, channels, record = waiting_for_two("partial", lambda: now[0], timeout_s=0.001)
    channels[0].send_nowait(record)
    with pytest.raises(WouldBlock):
        join.receive_nowait()
    timer = join._timer
    with anyio.fail_after(5):
        while join._timer is timer:
            await asyncio.sleep(0)
        now[0] = 1.0
        while not join.timed_out:
            await asyncio.sleep(0)
    assert join.receive_nowait() is record
    join.abandon()


@pytest.mark.anyio
async def test_cancelling_takes_back_what_was_let_through():
    """A record that waits for a free slot ends, whether it was joined well or not."""
    join, channels, record = waiting_for_two()
    record.ticket.fork(1)  # so that its end does not settle the ticket, which nobody owns
    channels[0].send_nowait(record)
    with pytest.raises(WouldBlock):
        join.receive_nowait()
    join.expect(record.ticket, -1)
    join.cancel(record.ticket)
    assert join.waiting == 0
    assert record.ticket.outcome is Outcome.CANCELLED


def waiting_for_two(on_missing="fail", now=lambda: 0.0, timeout_s=30.0):
    """A join without an engine, its two channels, and a record of which two branches may come."""
    before: list[Place] = []
    bell = Doorbell()
    links = ChannelLinks(lambda record, outcome, reason: before[0].end(record, outcome), now, bell)
    edges = [edge_of("a -> j"), edge_of("b -> j", max_wait_s=1.0)]
    channels = [Channel(edge, links) for edge in edges]
    plan = NodePlan("j", "stage", "test", Record, NoOptions(), join=JoinPlan("all", timeout_s, on_missing))
    join = Join(plan, channels, NOWHERE, bell, now, 0)
    before.append(Place((join,), (join,)))
    record = Record({}, "0")
    record.ticket = Ticket(record, None)
    before[0].fork(record.ticket, 1)
    return join, channels, record


@pytest.mark.anyio
async def test_a_branch_that_came_too_late_lets_the_other_go_on():
    """Who takes from the edges, and finds that what is there waited too long, looks again at what that changed."""
    now = [0.0]
    join, channels, record = waiting_for_two("partial", lambda: now[0])
    channels[0].send_nowait(record)
    channels[1].send_nowait(record.copy())
    now[0] = 10.0
    assert join.receive_nowait() is record
    assert join.partial == 1
    join.abandon()


@pytest.mark.anyio
async def test_slots_that_wait_are_told_of_the_end():
    """If the last branch to come is lost when all edges have closed, nobody waits on."""
    join, channels, record = waiting_for_two()
    channels[0].send_nowait(record)
    with pytest.raises(WouldBlock):
        join.receive_nowait()
    for channel in channels:
        channel.close()
    with pytest.raises(WouldBlock):
        join.receive_nowait()
    waiting = [asyncio.ensure_future(join._bell.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    join.expect(record.ticket, -1)
    await asyncio.gather(*waiting)
    assert join.receive_nowait() is record
    with pytest.raises(EndOfStream):
        join.receive_nowait()
    join.abandon()


def test_a_forced_end_finds_what_waits_in_the_join():
    """It is listed as unfinished, once."""
    flow = diamond(writing("a"), lambda record: anyio.sleep_forever(), count=1)
    flow.plugins["right"].process = _never

    async def main():
        engine = flow.engine()
        running = asyncio.ensure_future(engine.run())
        while not engine.started.is_set() or not engine.report()["nodes"]["j"]["join"]["waiting"]:
            await asyncio.sleep(0)
        engine.force("test")
        flow.report = await running

    asyncio.run(main())
    assert flow.outcomes == {"cancelled": 1}
    assert [row["id"] for row in flow.report["unfinished"]] == ["0"]


async def _never(record):
    await anyio.sleep_forever()


def ladder(rungs, capacity=1):
    """Diamonds in a row, whose edges hold one record each."""
    plugins = {"in": ListSource(records(200))}
    edges, settings, before = [], {}, "in"
    for rung in range(rungs):
        names = [f"fork{rung}", f"left{rung}", f"right{rung}", f"join{rung}"]
        plugins |= {name: FunctionStage(same) for name in names}
        fork, left, right, join = names
        pairs = [(before, fork), (fork, left), (fork, right), (left, join), (right, join)]
        edges += [edge_of(f"{a} -> {b}", capacity=capacity) for a, b in pairs]
        settings[join] = {"join": ALL}
        before = join
    plugins["out"] = ListSink()
    return Flow(plugins, [*edges, edge_of(f"{before} -> out", capacity=capacity)], settings)


@pytest.mark.parametrize("rungs", [1, 5])
def test_ladders_of_diamonds_do_not_lock(rungs):
    """Under `block`, with room for one record on each edge."""
    flow = run(ladder(rungs))
    assert flow.outcomes == {"delivered": 200}
    assert flow.plugins["out"].ids == [str(n) for n in range(200)]


def test_uneven_branches_do_not_lock():
    """A branch of one edge and one of many stages, with room for one record on each edge."""
    plugins = {"in": ListSource(records(100))}
    plugins |= {name: FunctionStage(same) for name in ("fork", "a", "b", "c", "j")}
    plugins["out"] = ListSink()
    texts = ["in -> fork", "fork -> j", "fork -> a", "a -> b", "b -> c", "c -> j", "j -> out"]
    flow = run(Flow(plugins, [edge_of(text, capacity=1) for text in texts], {"j": {"join": ALL}}))
    assert flow.outcomes == {"delivered": 100}
    assert flow.report["nodes"]["j"]["taken"] == 200


def nested(inner, outer, left=failing, order=1, more=(), settings=None):
    """`a` and `b` joined at `j`, and that with `c` at `k`."""
    plugins = {"in": ListSource(records(2))}
    functions = {"fork": same, "a": left, "b": writing("b"), "j": same, "c": writing("c"), "k": same}
    plugins |= {name: FunctionStage(function) for name, function in functions.items()}
    plugins["out"] = ListSink()
    edges = ["in -> fork", "fork -> a", "fork -> b", "a -> j", "b -> j", "fork -> c", "c -> k", "j -> k", "k -> out"]
    return run(Flow(plugins, [*edges[::order], *more], {"j": {"join": inner}, "k": {"join": outer}} | (settings or {})))


@pytest.mark.parametrize("order", [1, -1])
def test_an_outer_join_makes_up_for_an_inner_one(order):
    """What the inner join gave up, the outer one goes on without; the order of the edges is no matter."""
    flow = nested(ALL, PARTIAL, order=order)
    assert flow.outcomes == {"delivered": 2}
    assert join_of(flow, "j") == {"incomplete": 2}
    assert join_of(flow, "k") == {"joined": 2, "partial": 2}
    assert [set(fields) for _, fields in flow.plugins["out"].written] == [{"n", "c"}] * 2


def test_an_inner_join_makes_up_for_its_branch():
    """The outer one then misses nothing."""
    flow = nested(PARTIAL, ALL)
    assert flow.outcomes == {"delivered": 2}
    assert join_of(flow, "k") == {"joined": 2}
    assert [set(fields) for _, fields in flow.plugins["out"].written] == [{"n", "b", "c"}] * 2


def test_an_inner_join_makes_up_for_what_an_error_port_took():
    """The outer one does not even hear of it."""
    flow = nested(PARTIAL, ALL, more=["a.error -> out"], settings={"a": {"on_error": "port"}})
    assert flow.outcomes == {"delivered": 2}
    assert join_of(flow, "j") == {"joined": 2, "partial": 2}
    assert join_of(flow, "k") == {"joined": 2}


def test_what_two_joins_give_up_is_lost():
    """The first loss is the record's outcome."""
    flow = nested(ALL, ALL)
    assert flow.outcomes == {"failed": 2}
    assert flow.plugins["out"].written == []


def test_a_best_effort_branch_may_fork_and_join():
    """It has a ticket of its own, which joins with itself."""
    plugins = {"in": ListSource(records(3))}
    plugins |= {
        name: FunctionStage(function)
        for name, function in {"fork": same, "a": writing("a"), "b": writing("b"), "j": same}.items()
    }
    plugins |= {"out": ListSink(), "audit": ListSink()}
    edges = ["in -> out", edge_of("in -> fork", best_effort=True), "fork -> a", "fork -> b", "a -> j", "b -> j"]
    flow = run(Flow(plugins, [*edges, "j -> audit"], {"j": {"join": ALL}}))
    assert flow.outcomes == {"delivered": 3}
    assert flow.report["edges"]["in -> fork"]["best_effort"]["delivered"] == 3
    assert len(plugins["audit"].written) == 3


def test_sources_of_several_records_meet_nobody():
    """Records of two sources share no ticket: each goes on alone, and nothing waits."""
    plugins = {"in": ListSource(records(3)), "in2": ListSource(records(2)), "j": FunctionStage(same), "out": ListSink()}
    flow = run(Flow(plugins, ["in -> j", "in2 -> j", "j -> out"], {"j": {"join": ALL}}))
    assert flow.outcomes == {"delivered": 5}


def test_a_drain_waits_for_joins():
    """What waits for its other branch when intake stops is still joined."""
    gate = anyio.Event()

    async def wait(record):
        await gate.wait()
        return record

    flow = diamond(writing("a"), wait, count=4)

    async def main():
        engine = flow.engine()
        running = asyncio.ensure_future(engine.run())
        while not engine.started.is_set() or not engine.report()["nodes"]["j"]["join"]["waiting"]:
            await asyncio.sleep(0)
        engine.stop("test")
        gate.set()
        flow.report = await running

    asyncio.run(main())
    assert set(flow.outcomes) == {Outcome.DELIVERED}
