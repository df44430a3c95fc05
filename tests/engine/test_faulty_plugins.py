"""Plugins that break their contract: one bad record, or one bad answer, never ends the run."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace

import anyio
import anyio.lowlevel
import pytest
import structlog
from rigs import Flow, FunctionStage, ListSink, ListSource, chain, check_told_once, edge_of, records

from dagflow.engine import engine as engine_module
from dagflow.engine.engine import Engine
from dagflow.errors import OpenFailed, RecordError, WorkerError
from dagflow.expressions import Expression
from dagflow.graph.plan import RetryPlan
from dagflow.plugin import NoOptions, Source
from dagflow.record import Record, Ticket
from dagflow.sinks.reply import Reply

pytestmark = pytest.mark.anyio


async def same(record):
    """A stage that changes nothing."""
    return record


class Panic(BaseException):
    """What libraries in other languages raise: no `Exception`."""


class Mute(Exception):
    """Cannot say what it is."""

    def __str__(self):
        raise RuntimeError("no words")


class Odd(Exception):
    """Says something that is no text."""

    def __str__(self):
        return 3


class MuteRecordError(RecordError):
    """A record error that cannot say what it is."""

    def __str__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize("error", [Panic, Mute, Odd, MuteRecordError, StopIteration, StopAsyncIteration])
@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize("guarded", [False, True])
async def test_whatever_a_stage_raises_fails_its_record_only(error, in_thread, guarded):
    """The other records pass, and the report names the error."""

    def work(record):
        if record["n"] == 1:
            raise error
        return record

    async def process(record):
        return work(record)

    settings = {"s0": {"timeout_s": 5.0, "retry": RetryPlan(2, 0.0, 0.0)}} if guarded else {}
    flow = chain(records(3), work if in_thread else process, settings=settings)
    report = await flow.run()
    assert flow.outcomes == {"delivered": 2, "failed": 1}
    [fault] = report["errors"]
    assert error.__name__ in fault["message"] or "StopIteration" in fault["message"]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
async def test_a_thread_cannot_end_the_program(error):
    """What would end it in the main thread is a bug in any other."""

    def work(record):
        raise error(3)

    flow = chain(records(2), work)
    report = await flow.run()
    assert flow.outcomes == {"failed": 2}
    assert report["errors"][0]["code"] == "bug"


async def test_an_error_port_takes_an_error_without_words():
    """The field `error` has a message all the same."""

    async def fail(record):
        raise MuteRecordError

    plugins = {"in": ListSource(records(1)), "s": FunctionStage(fail), "out": ListSink(), "bad": ListSink()}
    flow = Flow(plugins, ["in -> s", "s -> out", "s.error -> bad"], {"s": {"on_error": "port"}})
    await flow.run()
    assert plugins["bad"].written[0][1]["error"]["message"] == "MuteRecordError"


@pytest.mark.parametrize("unmatched", ["fail", "filter"])
async def test_a_failure_that_no_error_edge_takes_stays_that_failure(unmatched):
    """It is counted once, with its own error, and never as filtered."""

    async def fail(record):
        raise RecordError("the reason")

    plugins = {"in": ListSource(records(2)), "s": FunctionStage(fail), "out": ListSink(), "bad": ListSink()}
    edges = ["in -> s", "s -> out", edge_of("s.error -> bad", when=Expression("n > 'x'"))]
    flow = Flow(plugins, edges, {"s": {"on_error": "port", "unmatched": unmatched}})
    report = await flow.run()
    assert flow.outcomes == {"failed": 2}
    assert [(e["message"], e["count"]) for e in report["errors"]] == [("the reason", 2)]
    row = report["nodes"]["s"]
    assert (row["done"], row["failed"]) == (0, 2)


async def test_a_condition_on_what_is_neither_true_nor_false_fails_the_record():
    """An array of numbers, for one, refuses to be a truth value."""

    class Array:
        def __bool__(self):
            raise ValueError("ambiguous")

    async def compute(record):
        record["vector"] = Array()
        return record

    plugins = {"in": ListSource(records(1)), "s": FunctionStage(compute), "out": ListSink()}
    flow = Flow(plugins, ["in -> s", edge_of("s -> out", when=Expression("vector"))])
    report = await flow.run()
    assert report["errors"][0]["code"] == "expression"


@pytest.mark.parametrize("error", [asyncio.CancelledError, Panic, OSError])
async def test_whatever_open_raises_stops_the_start_with_the_name(error):
    """Even a cancellation that nobody asked for; a plugin whose turn had not come is not closed."""
    closed = []

    class Noting(ListSink):
        async def close(self):
            closed.append(self)

    class Late(ListSource):
        async def close(self):
            closed.append(self)

    class Broken(FunctionStage):
        async def open(self, context):
            raise error

        async def close(self):
            closed.append(self)

    plugins = {"in": Late([]), "s": Broken(same), "out": Noting()}
    flow = Flow(plugins, ["in -> s", "s -> out"])
    with pytest.raises(OpenFailed, match=f"`s` could not be opened: {error.__name__}"):
        await flow.run()
    assert closed == [plugins["s"], plugins["out"]]


async def test_a_plugin_that_cannot_be_constructed_is_named():
    """The constructor ran well when the file was validated, and does not now."""

    def build(options):
        raise OSError("no device")

    flow = chain(records(1), same)
    broken = replace(flow.plan.nodes["s0"], cls=build, options=NoOptions())
    plan = replace(flow.plan, nodes={**flow.plan.nodes, "s0": broken})
    with pytest.raises(OpenFailed, match="`s0` could not be opened: OSError: no device"):
        Engine(plan)


@pytest.mark.parametrize("error", [asyncio.CancelledError, Panic])
@pytest.mark.parametrize("moment", ["flush", "close"])
async def test_whatever_a_sink_raises_at_the_end_the_others_close_in_peace(error, moment):
    """A flush that raises fails the run; a close that raises is a warning."""
    closed = []

    class Broken(ListSink):
        async def flush(self):
            if moment == "flush":
                raise error

        async def close(self):
            if moment == "close":
                raise error

    class Slow(FunctionStage):
        async def close(self):
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            closed.append(True)

    flow = Flow({"in": ListSource(records(1)), "s": Slow(same), "out": Broken()}, ["in -> s", "s -> out"])
    report = await flow.run()
    assert closed == [True]
    assert report["exit_code"] == (1 if moment == "flush" else 0)


async def test_progress_that_raises_is_unknown_progress():
    """The report is given; the source is not asked again."""
    asked = []

    class Divided(ListSource):
        def progress(self):
            asked.append(True)
            return 1 / 0

    flow = Flow({"in": Divided(records(2)), "out": ListSink()}, ["in -> out"])
    engine = flow.engine()
    assert engine.report()["sources"]["in"]["progress"] is None
    report = await engine.run()
    assert report["sources"]["in"] == {"ended": True, "progress": None}
    assert len(asked) == 1


async def test_an_answer_that_its_source_cannot_take_is_delivered_all_the_same():
    """What the source does with it is the source's own affair."""

    class Clumsy(ListSource):
        def on_answer(self, record, answer):
            raise RuntimeError("no")

    flow = Flow({"in": Clumsy(records(2)), "out": Reply()}, ["in -> out"])
    await flow.run()
    assert flow.outcomes == {"delivered": 2}


async def test_a_settle_that_panics_changes_nothing():
    """Neither a plain one, nor one that is awaited."""

    class Plain(ListSource):
        def settle(self, record, outcome):
            raise Panic

    class Awaited(ListSource):
        async def settle(self, record, outcome):
            raise Panic

    for source in (Plain(records(3)), Awaited(records(3))):
        flow = Flow({"in": source, "out": ListSink()}, ["in -> out"])
        await flow.run()
        assert flow.outcomes == {"delivered": 3}


async def test_a_settle_that_hangs_is_given_up(monkeypatch):
    """The outcomes stand; those that nobody took are told in the log, and no coroutine is left behind."""
    monkeypatch.setattr(engine_module, "CLOSE_TIMEOUT_S", 0.01)

    class Hanging(ListSource):
        async def settle(self, record, outcome):
            await anyio.sleep_forever()

    logged = []
    log = structlog.wrap_logger(structlog.ReturnLogger(), processors=[lambda *entry: logged.append(entry[-1]) or ""])
    flow = Flow({"in": Hanging(records(3)), "out": ListSink()}, ["in -> out"])
    with anyio.fail_after(10):
        report = await Engine(flow.plan, log=log).run()
    assert report["outcomes"]["delivered"] == 3
    assert logged == [{"event": "the source did not take its outcomes in time", "node": "in", "records": 3}]


async def test_settle_may_be_set_on_the_plugin_itself():
    """As `process` may be: what counts is what there is when the run begins."""
    told = []

    class Late(ListSource):
        settle = Source.settle

        async def open(self, context):
            self.settle = lambda record, outcome: told.append(record.id)

    flow = Flow({"in": Late(records(2)), "out": ListSink()}, ["in -> out"])
    await flow.run()
    assert told == ["0", "1"]


async def test_a_run_that_is_cancelled_tells_its_outcomes():
    """Whoever cancels the run: each source is told of each record, also where telling takes time."""

    class Acknowledging(ListSource):
        async def settle(self, record, outcome):
            await anyio.lowlevel.checkpoint()
            self.settled.append((record.id, outcome))

    async def hang(record):
        await anyio.sleep_forever()

    source = Acknowledging(records(5))
    engine = Flow({"in": source, "out": ListSink(hang)}, ["in -> out"]).engine()
    running = asyncio.ensure_future(engine.run())
    await anyio.wait_all_tasks_blocked()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert engine.report()["outcomes"]["cancelled"] == 5
    check_told_once(source, engine.report())


async def test_retries_without_end_do_not_overflow():
    """The wait between attempts is bounded, however often it was doubled."""
    attempts = []

    async def down(record):
        attempts.append(1)
        raise WorkerError("unavailable", "later")

    flow = chain(records(1), down, settings={"s0": {"retry": RetryPlan(1100, 0.0, 0.0)}})
    report = await flow.run()
    assert len(attempts) == 1100
    assert report["errors"][0]["code"] == "worker-unavailable"


@pytest.mark.parametrize(
    "settings", [{}, {"timeout_s": 5.0}, {"retry": RetryPlan(2, 0.0, 0.0)}, {"on_error": "port"}], ids=str
)
@pytest.mark.parametrize("can_cancel", [False, True])
async def test_nothing_waits_for_the_garbage_collector(settings, can_cancel):
    """Records that failed or were delivered let go of their tickets at once."""

    async def fussy(record):
        if record["n"] % 2:
            raise ValueError("odd")
        return record

    plugins = {
        "in": ListSource((record for record in records(200)), can_cancel=can_cancel),
        "s": FunctionStage(fussy),
        "out": ListSink(same),
        "bad": ListSink(same),
    }
    flow = Flow(plugins, ["in -> s", "s -> out", "s.error -> bad"], {"s": settings})
    gc.collect()
    gc.disable()
    try:
        before = {id(each) for each in gc.get_objects()}
        await flow.run()
        left = [each for each in gc.get_objects() if isinstance(each, Ticket | Record) and id(each) not in before]
    finally:
        gc.enable()
    assert len(left) < 10
