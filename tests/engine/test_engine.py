"""The engine on small graphs: outcomes, fan-out, ports, splits, errors."""

from __future__ import annotations

import pytest
from rigs import Flow, FunctionStage, ListSink, ListSource, chain, check_told_once, edge_of, records

from dagflow.errors import RecordError, UnreadableRecord, WorkerError
from dagflow.expressions import Expression
from dagflow.graph.plan import RetryPlan
from dagflow.record import Outcome, Record, UnreadableInput

pytestmark = pytest.mark.anyio


async def same(record):
    """A stage that changes nothing."""
    return record


async def test_a_chain_delivers_every_record_in_order():
    """A thousand records pass two stages; the source is told of each once."""

    async def double(record):
        record["double"] = record["n"] * 2
        return record

    flow = chain(records(1000), double, same)
    report = await flow.run()
    assert flow.outcomes == {"delivered": 1000}
    assert [fields["double"] for _, fields in flow.plugins["out"].written] == list(range(0, 2000, 2))
    check_told_once(flow.plugins["in"], report)
    assert report["nodes"]["s0"]["done"] == 1000
    assert report["edges"]["in -> s0"]["taken"] == 1000
    assert report["exit_code"] == 0
    assert report["sources"]["in"]["ended"] is True


async def test_none_filters():
    """A stage that returns None filters the record out."""

    async def odd(record):
        return record if record["n"] % 2 else None

    flow = chain(records(10), odd)
    await flow.run()
    assert flow.outcomes == {"delivered": 5, "filtered": 5}


async def test_a_stage_that_raises_fails_its_record_only():
    """One bad record never stops the pipeline; a bug is told apart from an error of the record."""

    async def fussy(record):
        if record["n"] == 3:
            raise KeyError("boom")
        if record["n"] == 4:
            raise RecordError("not this one")
        return record

    flow = chain(records(10), fussy)
    report = await flow.run()
    assert flow.outcomes == {"delivered": 8, "failed": 2}
    assert report["exit_code"] == 65
    errors = {error["code"]: error for error in report["errors"]}
    assert errors["bug"]["message"] == "KeyError: 'boom'"
    assert errors["bug"]["record"] == "3"
    assert errors["record"]["message"] == "not this one"
    assert report["nodes"]["s0"]["failed"] == 2
    assert report["nodes"]["s0"]["done"] == 8


async def test_a_sink_that_raises_fails_its_record():
    """A record that a sink could not write is not delivered."""

    async def full(record):
        raise OSError("disk full")

    flow = Flow({"in": ListSource(records(2)), "out": ListSink(full)}, ["in -> out"])
    report = await flow.run()
    assert flow.outcomes == {"failed": 2}
    assert report["nodes"]["out"]["failed"] == 2


async def test_unreadable_input_is_a_failed_record():
    """Input that is no record is accepted, fails, and the run goes on."""
    bad = UnreadableInput(UnreadableRecord("x.jsonl:2", "no JSON"), id="bad")
    flow = chain([*records(2), bad, *records(1)], same)
    report = await flow.run()
    assert flow.outcomes == {"delivered": 3, "failed": 1}
    assert report["errors"][0]["message"] == "x.jsonl:2: no JSON"
    assert ("bad", Outcome.FAILED) in flow.plugins["in"].settled


async def test_plain_functions_run_in_threads():
    """A `process` that is no coroutine function runs off the event loop."""
    import threading

    def work(record):
        record["thread"] = threading.current_thread() is threading.main_thread()
        return record

    flow = chain(records(5), work)
    await flow.run()
    assert [fields["thread"] for _, fields in flow.plugins["out"].written] == [False] * 5


async def test_a_wrapped_coroutine_function_is_awaited():
    """A decorator that hides a coroutine function does not make its records fail."""
    import functools

    @functools.wraps(same)
    def wrapped(record):
        return same(record)

    flow = chain(records(3), wrapped)
    await flow.run()
    assert flow.outcomes == {"delivered": 3}


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_a_cancellation_that_nobody_asked_for_is_a_bug_of_the_plugin(concurrency):
    """A stage whose own task was cancelled raises CancelledError: the slot survives it."""
    import asyncio

    async def careless(record):
        if record["n"] < 3:
            raise asyncio.CancelledError
        return record

    flow = chain(records(5), careless, settings={"s0": {"concurrency": concurrency}})
    report = await flow.run()
    assert flow.outcomes == {"delivered": 2, "failed": 3}
    assert report["errors"][0]["message"] == "CancelledError"


async def test_a_source_that_cancels_itself_has_failed():
    """The run ends, with what was accepted finished."""
    import asyncio

    class Careless(ListSource):
        async def records(self):
            yield Record({"n": 0}, "0")
            raise asyncio.CancelledError

    flow = Flow({"in": Careless([]), "out": ListSink()}, ["in -> out"])
    report = await flow.run()
    assert flow.outcomes == {"delivered": 1}
    assert report["exit_code"] == 1


@pytest.mark.parametrize("result", [3, "text", {"a": 1}, b"x"])
async def test_a_wrong_result_is_an_error_of_the_stage(result):
    """What is neither a record, None nor records fails the record, and says what it was."""

    async def wrong(record):
        return result

    flow = chain(records(1), wrong)
    report = await flow.run()
    assert flow.outcomes == {"failed": 1}
    assert type(result).__name__ in report["errors"][0]["message"]


async def test_several_records_share_the_ticket():
    """A split gives ids `id/0`, `id/1`; the source is told once, when all have ended."""

    async def split(record):
        return [Record({"part": index}) for index in range(3)]

    flow = chain(records(2, session="s", priority=7), split)
    report = await flow.run()
    assert flow.plugins["out"].ids == ["0/0", "0/1", "0/2", "1/0", "1/1", "1/2"]
    assert flow.outcomes == {"delivered": 2}
    check_told_once(flow.plugins["in"], report)


async def test_an_empty_split_filters():
    """No records are the same as None."""

    async def nothing(record):
        return []

    flow = chain(records(2), nothing)
    await flow.run()
    assert flow.outcomes == {"filtered": 2}


async def test_one_failed_part_fails_the_record():
    """The weightiest outcome among the branches is the record's."""

    async def split(record):
        return [Record({"part": index}) for index in range(3)]

    async def fussy(record):
        if record["part"] == 1:
            raise RecordError("part 1")
        return record

    flow = chain(records(1), split, fussy)
    await flow.run()
    assert flow.outcomes == {"failed": 1}
    assert flow.plugins["out"].ids == ["0/0", "0/2"]


async def test_a_generator_sends_its_records_as_they_come():
    """An async generator's records go on at once; its slot is kept until it ends."""

    async def parts(record):
        for index in range(3):
            yield Record({"part": index})

    flow = chain(records(2), parts)
    report = await flow.run()
    assert flow.plugins["out"].ids == ["0/0", "0/1", "0/2", "1/0", "1/1", "1/2"]
    assert flow.outcomes == {"delivered": 2}
    assert report["nodes"]["s0"]["done"] == 2


async def test_a_generator_that_breaks_fails_the_record_after_its_parts():
    """What a generator yielded before it raised is delivered; the record has failed."""

    async def parts(record):
        yield Record({"part": 0})
        raise RecordError("broke")

    flow = chain(records(1), parts)
    await flow.run()
    assert flow.plugins["out"].ids == ["0/0"]
    assert flow.outcomes == {"failed": 1}


async def test_fan_out_all_sends_copies_and_waits_for_each_branch():
    """Each branch has fields of its own; the record is settled once."""

    async def mark(record):
        record["mark"] = True
        return record

    plugins = {"in": ListSource(records(3)), "a": FunctionStage(mark), "left": ListSink(), "right": ListSink()}
    flow = Flow(plugins, ["in -> a", "in -> right", "a -> left"])
    report = await flow.run()
    assert flow.outcomes == {"delivered": 3}
    assert [fields for _, fields in plugins["left"].written] == [{"n": n, "mark": True} for n in range(3)]
    assert [fields for _, fields in plugins["right"].written] == [{"n": n} for n in range(3)]
    check_told_once(plugins["in"], report)


def routed(fan_out, unmatched="fail"):
    """A source that sends even numbers to `a`, numbers over 5 to `b`."""
    plugins = {"in": ListSource(records(8)), "a": ListSink(), "b": ListSink()}
    edges = [
        edge_of("in -> a", when=Expression("n % 2 == 0")),
        edge_of("in -> b", when=Expression("n > 5")),
    ]
    return Flow(plugins, edges, {"in": {"fan_out": fan_out, "unmatched": unmatched}})


async def test_conditions_choose_all_edges_that_hold():
    """`all`: 6 goes both ways; 1, 3, 5 match nothing and fail."""
    flow = routed("all")
    report = await flow.run()
    assert flow.plugins["a"].ids == ["0", "2", "4", "6"]
    assert flow.plugins["b"].ids == ["6", "7"]
    assert flow.outcomes == {"delivered": 5, "failed": 3}
    assert report["errors"][0]["code"] == "unmatched"


async def test_first_routes_to_the_first_edge_that_holds():
    """`first`: 6 goes to `a` only; what matches nothing is filtered where the node says so."""
    flow = routed("first", "filter")
    await flow.run()
    assert flow.plugins["b"].ids == ["7"]
    assert flow.outcomes == {"delivered": 5, "filtered": 3}


async def test_a_condition_that_fails_fails_the_record():
    """A condition may be wrong for a record: that record fails, and says why."""
    plugins = {"in": ListSource(records(2)), "a": ListSink()}
    flow = Flow(plugins, [edge_of("in -> a", when=Expression("n < 'x'"))])
    report = await flow.run()
    assert flow.outcomes == {"failed": 2}
    assert "n < 'x'" in report["errors"][0]["message"]


async def test_ports_lead_records_where_the_stage_says():
    """A stage chooses a declared port; the port is gone at the next node."""

    async def route(record):
        record.port = "odd" if record["n"] % 2 else None
        return record

    plugins = {"in": ListSource(records(4)), "r": FunctionStage(route), "odd": ListSink(), "even": ListSink()}
    flow = Flow(plugins, ["in -> r", "r.odd -> odd", "r -> even"], {"r": {"ports": frozenset({"odd"})}})
    await flow.run()
    assert plugins["odd"].ids == ["1", "3"]
    assert plugins["even"].ids == ["0", "2"]


async def test_an_error_port_takes_the_record_as_it_entered():
    """What failed goes on with the fields it had, and `error`; it then counts as it ends there."""

    async def spoil(record):
        record["n"] = "spoiled"
        raise RecordError("no")

    plugins = {"in": ListSource(records(1)), "s": FunctionStage(spoil), "ok": ListSink(), "bad": ListSink()}
    flow = Flow(plugins, ["in -> s", "s -> ok", "s.error -> bad"], {"s": {"on_error": "port"}})
    report = await flow.run()
    assert flow.outcomes == {"delivered": 1}
    [(_, fields)] = plugins["bad"].written
    assert fields == {"n": 0, "error": {"code": "record", "message": "no", "node": "s", "attempt": 1}}
    assert report["nodes"]["s"]["failed"] == 1
    assert report["exit_code"] == 0


async def test_a_sink_may_have_an_error_port_too():
    """A fallback sink takes what the first could not write."""

    async def full(record):
        raise OSError("disk full")

    plugins = {"in": ListSource(records(2)), "a": ListSink(full), "b": ListSink()}
    flow = Flow(plugins, ["in -> a", "a.error -> b"], {"a": {"on_error": "port"}})
    await flow.run()
    assert plugins["b"].ids == ["0", "1"]
    assert flow.outcomes == {"delivered": 2}


async def test_best_effort_branches_count_in_the_edge_only():
    """A shadow branch that fails leaves the record delivered, and the edge's books say what happened."""

    async def fail(record):
        raise RecordError("shadow")

    plugins = {"in": ListSource(records(3)), "out": ListSink(), "audit": ListSink(fail)}
    flow = Flow(plugins, ["in -> out", edge_of("in -> audit", best_effort=True)])
    report = await flow.run()
    assert flow.outcomes == {"delivered": 3}
    assert report["edges"]["in -> audit"]["best_effort"]["failed"] == 3
    assert report["exit_code"] == 0


async def test_retry_tries_again_from_the_fields_as_they_entered():
    """Only what is retryable is tried again, at most `attempts` times, from a fresh copy."""
    seen = []

    async def flaky(record):
        seen.append(dict(record))
        record["dirt"] = True
        if len(seen) < 3:
            raise WorkerError("unavailable", "later")
        return record

    flow = chain(records(1), flaky, settings={"s0": {"retry": RetryPlan(3, 0.0, 0.0)}})
    report = await flow.run()
    assert seen == [{"n": 0}] * 3
    assert flow.outcomes == {"delivered": 1}
    assert report["nodes"]["s0"]["retried"] == 2


async def test_retry_gives_up_and_keeps_the_attempt():
    """The last error counts, with its attempt."""

    async def down(record):
        raise WorkerError("unavailable", "down")

    flow = chain(records(1), down, settings={"s0": {"retry": RetryPlan(3, 0.0, 0.0)}})
    report = await flow.run()
    assert flow.outcomes == {"failed": 1}
    assert report["nodes"]["s0"]["retried"] == 2
    assert report["errors"][0]["code"] == "worker-unavailable"


async def test_what_is_not_retryable_is_not_retried():
    """A refusal is final."""
    calls = []

    async def refuse(record):
        calls.append(1)
        raise WorkerError("refused", "no")

    flow = chain(records(1), refuse, settings={"s0": {"retry": RetryPlan(3, 0.0, 0.0)}})
    await flow.run()
    assert len(calls) == 1


async def test_max_in_flight_holds_the_source_back():
    """With a gate at 3 and a sink that lets nothing through, exactly three records are accepted."""
    import anyio
    from anyio import wait_all_tasks_blocked

    gate = anyio.Event()

    async def wait(record):
        await gate.wait()

    source = ListSource(records(10))
    flow = Flow({"in": source, "out": ListSink(wait)}, ["in -> out"], max_in_flight=3)
    engine = flow.engine()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.started.wait()
        await wait_all_tasks_blocked()
        assert engine.report()["in_flight"] == 3
        assert source.handed_in == 3
        gate.set()
    assert engine.report()["outcomes"]["delivered"] == 10


async def test_back_pressure_reaches_the_source_with_exact_counts():
    """Two edges of capacity 2, one slot each: 2 + 1 + 2 + 1 in flight, and one that the source holds."""
    import anyio
    from anyio import wait_all_tasks_blocked

    gate = anyio.Event()

    async def wait(record):
        await gate.wait()

    source = ListSource(records(100))
    plugins = {"in": source, "s": FunctionStage(same), "out": ListSink(wait)}
    flow = Flow(plugins, [edge_of("in -> s", capacity=2), edge_of("s -> out", capacity=2)])
    engine = flow.engine()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.started.wait()
        await wait_all_tasks_blocked()
        # out: 1 in hand, 2 buffered; s: 1 in hand, waiting to send; 2 buffered; the source: 1 waiting.
        assert source.handed_in == 7
        edges = engine.report()["edges"]
        assert (edges["in -> s"]["buffered"], edges["s -> out"]["buffered"]) == (2, 2)
        gate.set()
    report = engine.report()
    assert report["outcomes"]["delivered"] == 100
    assert report["edges"]["s -> out"]["max_depth"] == 2


async def test_several_sources_meet_at_one_stage():
    """A stage takes from all its edges in turn until all have ended."""
    plugins = {
        "a": ListSource(records(50)),
        "b": ListSource(records(30)),
        "s": FunctionStage(same),
        "out": ListSink(),
    }
    flow = Flow(plugins, ["a -> s", "b -> s", "s -> out"])
    report = await flow.run()
    assert flow.outcomes == {"delivered": 80}
    assert report["nodes"]["s"]["taken"] == 80


async def test_an_awaited_settle_is_awaited_for_each_record():
    """`settle` may be a coroutine function; the run does not end before the last has returned."""
    told = []

    class Acknowledging(ListSource):
        async def settle(self, record, outcome):
            await __import__("anyio").sleep(0)
            told.append((record.id, outcome, record.ticket.error))

    flow = Flow({"in": Acknowledging(records(20)), "out": ListSink()}, ["in -> out"])
    await flow.run()
    assert told == [(str(n), Outcome.DELIVERED, None) for n in range(20)]


async def test_a_settle_that_raises_changes_nothing():
    """The outcome stands, and the run goes on."""

    class Broken(ListSource):
        def settle(self, record, outcome):
            raise RuntimeError("no")

    flow = Flow({"in": Broken(records(3)), "out": ListSink()}, ["in -> out"])
    await flow.run()
    assert flow.outcomes == {"delivered": 3}


async def test_a_position_is_told():
    """What a sink's `position` gives stands in the report."""

    class Positioned(ListSink):
        def position(self):
            return {"offset": len(self.written)}

    flow = Flow({"in": ListSource(records(3)), "out": Positioned()}, ["in -> out"])
    report = await flow.run()
    assert report["nodes"]["out"]["position"] == {"offset": 3}
