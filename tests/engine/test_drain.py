"""Timeouts, deadlines, cancellation, draining: every record still ends in one outcome."""

from __future__ import annotations

import asyncio
import threading

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from rigs import Flow, FunctionStage, ListSink, ListSource, chain, check_balance, check_told_once, edge_of, records

from dagflow.engine import engine as engine_module
from dagflow.engine import lifecycle
from dagflow.errors import OpenFailed
from dagflow.graph.plan import RetryPlan
from dagflow.record import Outcome, Record

pytestmark = pytest.mark.anyio


async def same(record):
    """A stage that changes nothing."""
    return record


async def hang(record):
    """A stage that never returns."""
    await anyio.sleep_forever()


async def test_a_timeout_fails_the_attempt():
    """A stage that hangs fails its record after `timeout`; the others pass."""

    async def maybe(record):
        if record["n"] == 1:
            await anyio.sleep_forever()
        return record

    flow = chain(records(3), maybe, settings={"s0": {"timeout_s": 0.01}})
    report = await flow.run()
    assert flow.outcomes == {"delivered": 2, "failed": 1}
    assert report["errors"][0]["code"] == "timeout"


async def test_a_timeout_is_for_each_attempt():
    """An attempt that timed out may be retried."""
    calls = []

    async def slow_once(record):
        calls.append(1)
        if len(calls) == 1:
            await anyio.sleep_forever()
        return record

    flow = chain(records(1), slow_once, settings={"s0": {"timeout_s": 0.01, "retry": RetryPlan(2, 0.0, 0.0)}})
    await flow.run()
    assert flow.outcomes == {"delivered": 1}


async def test_a_deadline_expires_work_in_progress():
    """A record's own deadline interrupts its stage, and the record has expired, not failed."""
    import time

    flow = chain(records(1, deadline=time.monotonic() + 0.02), hang)
    report = await flow.run()
    assert flow.outcomes == {"expired": 1}
    assert report["nodes"]["s0"]["expired"] == 1


async def test_a_deadline_bounds_the_wait_between_attempts():
    """A record that waits for its next attempt expires at its deadline."""
    import time

    from dagflow.errors import WorkerError

    async def down(record):
        raise WorkerError("overloaded", "later", retry_after=3600.0)

    settings = {"s0": {"retry": RetryPlan(3, 0.0, 0.0)}}
    flow = chain(records(1, deadline=time.monotonic() + 0.02), down, settings=settings)
    await flow.run()
    assert flow.outcomes == {"expired": 1}


async def test_a_thread_that_timed_out_keeps_its_slot_until_it_returns():
    """The record fails in time; the slot takes no other before the abandoned thread is back."""
    release, running = threading.Event(), []

    def work(record):
        running.append(record["n"])
        if record["n"] == 0:
            release.wait(20)
            record["late"] = True
        return record

    flow = chain(records(2), work, settings={"s0": {"timeout_s": 0.5}})
    engine = flow.engine()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        with anyio.fail_after(10):
            while not engine.report()["outcomes"]["failed"]:
                await anyio.sleep(0.005)  # a loop that spins would keep the thread from its start
        assert running == [0]
        release.set()
    assert engine.report()["outcomes"] | {"failed": 1, "delivered": 1} == engine.report()["outcomes"]
    assert flow.plugins["out"].ids == ["1"]


async def test_an_abandoned_thread_does_not_keep_a_finished_run_alive():
    """When nothing is left to do, the run ends though a thread still hangs."""
    release = threading.Event()

    def work(record):
        release.wait(20)

    flow = chain(records(1), work, settings={"s0": {"timeout_s": 0.01}})
    try:
        with anyio.fail_after(10):
            await flow.run()
    finally:
        release.set()
    assert flow.outcomes == {"failed": 1}


@pytest.mark.parametrize("ticks", range(8))
async def test_a_call_that_is_cancelled_before_its_thread_begins_leaves_the_slot_free(ticks):
    """However early the cancellation comes, the records behind it pass."""
    handed = records(3)

    class Cancelling(ListSource):
        async def records(self):
            yield handed[0]
            for _ in range(ticks):
                await anyio.lowlevel.checkpoint()
            if handed[0].ticket is not None:
                handed[0].ticket.cancel()
            await wait_all_tasks_blocked()
            for record in handed[1:]:
                yield record

    source = Cancelling([], can_cancel=True)
    plugins = {"in": source, "s": FunctionStage(lambda record: record), "out": ListSink()}
    flow = Flow(plugins, ["in -> s", "s -> out"])
    with anyio.fail_after(10):
        report = await flow.run()
    assert plugins["out"].ids[-2:] == ["1", "2"]
    check_told_once(source, report)


async def test_a_source_cancels_what_is_queued_and_what_is_in_work():
    """Cancelling a ticket ends its record in the channel, and interrupts it in a stage."""
    handed = records(3)
    source = ListSource(handed, can_cancel=True)
    flow = Flow({"in": source, "s": FunctionStage(hang), "out": ListSink()}, ["in -> s", "s -> out"])
    engine = flow.engine()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.started.wait()
        await wait_all_tasks_blocked()
        tickets = [record.ticket for record in handed]
        tickets[1].cancel()
        assert source.settled == [("1", Outcome.CANCELLED)]
        tickets[0].cancel()
        await wait_all_tasks_blocked()
        assert source.settled == [("1", Outcome.CANCELLED), ("0", Outcome.CANCELLED)]
        assert engine.report()["nodes"]["s"]["busy"] == 1
        tickets[2].cancel()
    check_balance(engine.report())
    assert engine.report()["outcomes"]["cancelled"] == 3


async def live_run(flow, *, stop_after):
    """Run until `stop_after` holds, ask for a stop, and give the report."""
    engine = flow.engine()
    reports = []

    async def run():
        reports.append(await engine.run())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await engine.started.wait()
        with anyio.fail_after(10):
            while not stop_after():
                await anyio.lowlevel.checkpoint()
        engine.stop("SIGTERM")
    check_balance(reports[0])
    return reports[0]


def endless():
    """Records without end."""
    n = 0
    while True:
        yield Record({"n": n}, str(n))
        n += 1


async def test_a_stop_finishes_what_was_accepted():
    """After a stop nothing is accepted, and all that was is delivered."""
    source = ListSource(endless(), finite=False)
    sink = ListSink()
    flow = Flow({"in": source, "s": FunctionStage(same), "out": sink}, ["in -> s", "s -> out"])
    report = await live_run(flow, stop_after=lambda: len(sink.written) > 500)
    assert report["outcomes"]["delivered"] == report["accepted"] == source.handed_in
    assert report["stopped_by"] == "SIGTERM"
    assert report["exit_code"] == 0
    check_told_once(source, report)


async def test_a_finite_source_cut_short_is_exit_75():
    """A batch that was stopped before its end says so, even if all that was accepted is done."""
    sink = ListSink()
    flow = Flow({"in": ListSource(endless()), "out": sink}, ["in -> out"])
    report = await live_run(flow, stop_after=lambda: len(sink.written) > 10)
    assert report["exit_code"] == 75
    assert report["sources"]["in"]["ended"] is False


async def test_a_drain_that_runs_out_of_time_lists_what_is_unfinished():
    """What is unfinished after `drain_timeout` is cancelled and listed with its place."""
    source = ListSource(records(3), finite=False)
    plugins = {"in": source, "s": FunctionStage(hang), "out": ListSink()}
    flow = Flow(plugins, ["in -> s", "s -> out"], drain_timeout_s=0.02)
    report = await live_run(flow, stop_after=lambda: source.handed_in == 3)
    assert report["outcomes"]["cancelled"] == 3
    assert sorted((r["id"], r["where"]) for r in report["unfinished"]) == [
        ("0", "s"),
        ("1", "in -> s"),
        ("2", "in -> s"),
    ]
    assert report["exit_code"] == 75
    check_told_once(source, report)


async def test_a_second_request_cancels_at_once():
    """`force` ends a drain that would take for ever."""
    source = ListSource(records(5), finite=False)
    plugins = {"in": source, "s": FunctionStage(hang), "out": ListSink()}
    flow = Flow(plugins, ["in -> s", "s -> out"], {"s": {"concurrency": 2}}, drain_timeout_s=3600.0)
    engine = flow.engine()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.started.wait()
        await wait_all_tasks_blocked()
        engine.stop("SIGINT")
        await wait_all_tasks_blocked()
        assert engine.report()["in_flight"] == 5
        engine.force("SIGINT", exit_code=130)
    report = engine.report()
    assert report["outcomes"]["cancelled"] == 5
    assert report["exit_code"] == 130
    check_balance(report)


async def test_a_forced_end_frees_a_source_that_waits_at_a_full_edge():
    """A record whose source waits to hand it on is cancelled too, and nothing hangs."""
    source = ListSource(records(9), finite=False)
    plugins = {"in": source, "s": FunctionStage(hang), "out": ListSink()}
    flow = Flow(plugins, [edge_of("in -> s", capacity=1), "s -> out"], drain_timeout_s=0.01)
    report = await live_run(flow, stop_after=lambda: source.handed_in == 3)
    assert report["accepted"] == report["outcomes"]["cancelled"] == 3


@pytest.mark.parametrize("way", ["split", "generate", "fan_out"])
async def test_a_forced_end_finds_branches_that_were_not_sent_yet(way):
    """A node that waits in the middle of sending several branches leaves none of them behind."""

    async def split(record):
        return [Record({"part": part}) for part in range(5)]

    async def generate(record):
        for part in range(5):
            yield Record({"part": part})

    source = ListSource(records(4), finite=False)
    plugins = {"in": source, "s": FunctionStage({"split": split, "generate": generate}.get(way, same))}
    names = ["a", "b", "c"] if way == "fan_out" else ["a"]
    plugins |= {name: ListSink(hang) for name in names}
    edges = ["in -> s", *(edge_of(f"s -> {name}", capacity=1) for name in names)]
    flow = Flow(plugins, edges, {"s": {"concurrency": 2}}, drain_timeout_s=3600.0)
    engine = flow.engine()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.started.wait()
        await wait_all_tasks_blocked()
        engine.force("SIGTERM")
    report = engine.report()
    check_balance(report)
    assert report["outcomes"]["cancelled"] == 4
    assert sorted(row["id"] for row in report["unfinished"]) == ["0", "1", "2", "3"]


async def test_a_source_that_raises_ends_the_run_with_1():
    """What was accepted before is finished; the exit code says that the run failed."""

    class Breaking(ListSource):
        async def records(self):
            yield Record({"n": 0}, "0")
            raise OSError("disk gone")

    flow = Flow({"in": Breaking([]), "out": ListSink()}, ["in -> out"])
    report = await flow.run()
    assert flow.outcomes == {"delivered": 1}
    assert report["exit_code"] == 1
    assert report["stopped_by"] == "source `in`: OSError: disk gone"


async def test_a_plugin_that_fails_to_open_stops_the_start():
    """Its name is told, nothing is accepted, and what was opened is closed."""
    closed = []

    class Tidy(ListSink):
        async def close(self):
            closed.append("out")

    class Broken(FunctionStage):
        async def open(self, context):
            raise OSError("no model")

    source = ListSource(records(3))
    flow = Flow({"in": source, "s": Broken(same), "out": Tidy()}, ["in -> s", "s -> out"])
    with pytest.raises(OpenFailed, match="`s` could not be opened: OSError: no model"):
        await flow.run()
    assert source.handed_in == 0
    assert closed == ["out"]


async def test_a_plugin_that_hangs_in_close_does_not_hang_the_run(monkeypatch):
    """Closing is bounded; the report is given all the same."""
    monkeypatch.setattr(lifecycle, "CLOSE_TIMEOUT_S", 0.01)

    class Hanging(FunctionStage):
        async def close(self):
            await anyio.sleep_forever()

    flow = Flow({"in": ListSource(records(3)), "s": Hanging(same), "out": ListSink()}, ["in -> s", "s -> out"])
    with anyio.fail_after(10):
        await flow.run()
    assert flow.outcomes == {"delivered": 3}


async def test_a_flush_that_fails_fails_the_run():
    """Records were told delivered, yet may not be durable: exit code 1 says so."""

    class Lossy(ListSink):
        async def flush(self):
            raise OSError("disk full")

    flow = Flow({"in": ListSource(records(1)), "out": Lossy()}, ["in -> out"])
    report = await flow.run()
    assert report["exit_code"] == 1
    assert report["stopped_by"] == "`out` failed in `flush`: OSError: disk full"


async def test_a_stop_before_the_source_has_begun_is_obeyed():
    """A source that would wait for ever is not even asked."""

    class Quiet(ListSource):
        async def open(self, context):
            asyncio.get_running_loop().call_soon(engine.stop, "SIGTERM")

        async def records(self):
            await anyio.sleep_forever()
            yield

    engine = Flow({"in": Quiet([], finite=False), "out": ListSink()}, ["in -> out"]).engine()
    with anyio.fail_after(10):
        report = await engine.run()
    assert report["exit_code"] == 0


@pytest.mark.parametrize("moment", ["flush", "close"])
async def test_a_second_request_cuts_the_end_short_too(moment):
    """Whoever forces the end need not wait for a plugin that hangs in `flush` or `close`."""
    hanging = anyio.Event()

    class Hanging(ListSink):
        async def hang(self):
            hanging.set()
            await anyio.sleep_forever()

    sink = Hanging()
    setattr(sink, moment, sink.hang)
    engine = Flow({"in": ListSource(records(1)), "out": sink}, ["in -> out"], drain_timeout_s=3600.0).engine()
    with anyio.fail_after(2):  # less than what a plugin may take to close
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.run)
            await hanging.wait()
            engine.stop("SIGINT")
            engine.force("SIGINT", exit_code=130)
    assert engine.report()["exit_code"] == 130
    assert engine.report()["outcomes"]["delivered"] == 1


async def test_a_forced_end_does_not_wait_for_a_long_flush(monkeypatch):
    """A sink is still flushed then, but not for as long as a drain may take."""
    monkeypatch.setattr(engine_module, "CLOSE_TIMEOUT_S", 0.01)

    class Hanging(ListSink):
        async def flush(self):
            await anyio.sleep_forever()

    plugins = {"in": ListSource(records(1)), "s": FunctionStage(hang), "out": Hanging()}
    engine = Flow(plugins, ["in -> s", "s -> out"], drain_timeout_s=3600.0).engine()
    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(10):
            tasks.start_soon(engine.run)
            await engine.started.wait()
            await wait_all_tasks_blocked()
            engine.force("SIGINT", exit_code=130)
    assert engine.report()["exit_code"] == 130


async def test_a_best_effort_branch_leaves_no_record_unfinished():
    """A drain that cuts it off says so in the edge's books; the record was delivered."""
    plugins = {"in": ListSource(records(2), finite=False), "out": ListSink(), "audit": ListSink(hang)}
    flow = Flow(plugins, ["in -> out", edge_of("in -> audit", best_effort=True)], drain_timeout_s=0.01)
    report = await live_run(flow, stop_after=lambda: len(plugins["out"].written) == 2)
    assert report["unfinished"] == []
    assert report["exit_code"] == 0
    assert report["edges"]["in -> audit"]["best_effort"]["cancelled"] == 2


async def test_a_stop_while_opening_ends_the_run():
    """A signal during a slow start is obeyed."""
    opening = anyio.Event()

    class Slow(FunctionStage):
        async def open(self, context):
            opening.set()
            await anyio.sleep_forever()

    flow = Flow({"in": ListSource(records(3)), "s": Slow(same), "out": ListSink()}, ["in -> s", "s -> out"])
    engine = flow.engine()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await opening.wait()
        engine.stop("SIGTERM")
    assert engine.report()["accepted"] == 0
    assert engine.report()["exit_code"] == 75
