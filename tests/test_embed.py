"""dagflow inside a program: submit, stream, cancel, drain; the blocking form."""

from __future__ import annotations

import asyncio
import gc
import threading

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from rigs import Flow, FunctionStage, ListSink, ListSource

import dagflow
from dagflow import Chunk, Completion, Outcome, Record
from dagflow.embed import open_plan
from dagflow.engine.caller import Submission
from dagflow.errors import ConfigError, NotDelivered, OpenFailed, PipelineClosed, WorkerError
from dagflow.graph.plan import RetryPlan
from dagflow.sinks.reply import Reply

pytestmark = pytest.mark.anyio

CHAT = """
[pipeline]
edges = [{{ from = "in", to = "ask" }}, {{ from = "ask", to = "llm" }}, {{ from = "llm", to = "out" }}]
[sources.in]
type = "generate"
[stages.ask]
type = "template"
template = "Say {{{{ input }}}}"
[stages.llm]
type = "inference"
worker = "main"
concurrency = 2
[sinks.out]
type = "{sink}"
[workers.main]
type = "echo"
{worker}
"""


@pytest.fixture
def chat(tmp_path):
    """Write the file of a small chat pipeline."""

    def write(sink="reply", worker=""):
        path = tmp_path / "chat.toml"
        path.write_text(CHAT.format(sink=sink, worker=worker))
        return path

    return write


@pytest.mark.parametrize("sink", ["reply", "null"])
async def test_submit_gives_the_outcome_and_the_answer(chat, sink):
    """The answer is what `reply` gave, or the record as the sink took it."""
    async with dagflow.open(chat(sink)) as pipeline:
        result = await pipeline.submit({"input": "hello", "n": 1})
    assert result.outcome is Outcome.DELIVERED
    assert result.record["completion"].text == "Say hello"
    assert result.error is None


@pytest.mark.parametrize("sink", ["reply", "null"])
async def test_a_long_answer_needs_no_reader(chat, sink):
    """A live answer longer than what a stream buffers is whole for who submits."""
    words = " ".join(map(str, range(500)))
    async with dagflow.open(chat(sink)) as pipeline:
        result = await pipeline.submit({"input": words, "n": 0})
    assert result.record["completion"].text == f"Say {words}"


async def test_many_submissions_at_once_get_their_own_answers(chat):
    """A hundred callers, two slots: nobody gets another's answer."""
    async with dagflow.open(chat()) as pipeline:
        results = await asyncio.gather(*(pipeline.submit({"input": str(n), "n": n}) for n in range(100)))
        assert pipeline.report()["outcomes"]["delivered"] == 100
    assert [result.record["completion"].text for result in results] == [f"Say {n}" for n in range(100)]


async def test_a_failed_record_is_a_result_not_an_exception(chat):
    """The caller is told what went wrong with its record."""
    async with dagflow.open(chat(worker='error_rate = 1.0\nerror = "refused"')) as pipeline:
        result = await pipeline.submit(Record({"input": "x", "n": 0}, "mine"))
    assert result.outcome is Outcome.FAILED
    assert result.error.code == "worker-refused"
    assert result.error.node == "llm"


async def test_stream_gives_chunks_as_they_come(chat):
    """A live chain gives each chunk on its own, the last with the finish reason."""
    async with dagflow.open(chat()) as pipeline:
        chunks = [chunk async for chunk in pipeline.stream({"input": "one two three", "n": 0})]
        assert pipeline.report()["outcomes"]["delivered"] == 1
    assert len(chunks) > 1
    assert "".join(chunk.text for chunk in chunks) == "Say one two three"
    assert chunks[-1].finish_reason == "stop"
    assert chunks[-1].usage.output_tokens == 4


async def test_a_stream_is_read_while_the_worker_still_speaks(chat):
    """The first chunk arrives while the inference slot is still taken."""
    async with dagflow.open(chat(worker='chunk_delay = "1ms"')) as pipeline:
        stream = pipeline.stream({"input": "one two three four five", "n": 0})
        await anext(stream)
        assert pipeline.report()["nodes"]["llm"]["busy"] == 1
        assert pipeline.report()["in_flight"] == 1
        await stream.aclose()


async def test_stream_of_a_pipeline_that_is_not_live_gives_one_chunk(chat):
    """Where a sink wants the whole, the whole is one chunk."""
    async with dagflow.open(chat("null")) as pipeline:
        chunks = [chunk async for chunk in pipeline.stream({"input": "one two", "n": 0})]
    assert [chunk.text for chunk in chunks] == ["Say one two"]


async def test_a_stream_of_a_failed_record_raises(chat):
    """There is nothing to give but the reason."""
    async with dagflow.open(chat(worker='error_rate = 1.0\nerror = "unavailable"')) as pipeline:
        with pytest.raises(NotDelivered, match="failed") as caught:
            async for _ in pipeline.stream({"input": "x", "n": 0}):
                pass
    assert caught.value.error.code == "worker-unavailable"


async def test_leaving_a_stream_cancels_its_record(chat):
    """Who stops reading frees the slot: the record is cancelled at once."""
    async with dagflow.open(chat(worker='chunk_delay = "1h"')) as pipeline:
        stream = pipeline.stream({"input": "one two three", "n": 0})
        await anext(stream)
        await stream.aclose()
        await wait_all_tasks_blocked()
        report = pipeline.report()
        assert report["nodes"]["llm"]["busy"] == 0
        assert report["outcomes"]["cancelled"] == 1


async def test_cancelling_submit_cancels_the_record_wherever_it_is(chat):
    """Two records are with the worker, others wait in channels: all are cancelled with their callers."""
    async with dagflow.open(chat(worker='delay = "1h"')) as pipeline:
        async with anyio.create_task_group() as callers:
            for n in range(5):
                callers.start_soon(pipeline.submit, {"input": str(n), "n": n})
            await wait_all_tasks_blocked()
            assert pipeline.report()["in_flight"] == 5
            callers.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        report = pipeline.report()
        assert report["outcomes"]["cancelled"] == 5
        assert report["in_flight"] == 0


async def test_leaving_the_block_drains(chat):
    """A record in flight is finished; afterwards nothing is accepted."""
    async with dagflow.open(chat(worker='delay = "20ms"')) as pipeline:
        waiting = asyncio.ensure_future(pipeline.submit({"input": "x", "n": 0}))
        await wait_all_tasks_blocked()
    assert (await waiting).outcome is Outcome.DELIVERED
    with pytest.raises(PipelineClosed):
        await pipeline.submit({"input": "x", "n": 0})


async def test_an_error_in_the_block_cancels_and_passes_through(chat):
    """The program's own error is what it sees."""
    waiting = []

    async def program():
        async with dagflow.open(chat(worker='delay = "1h"')) as pipeline:
            waiting.append(asyncio.ensure_future(pipeline.submit({"input": "x", "n": 0})))
            await wait_all_tasks_blocked()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await program()
    assert (await waiting[0]).outcome is Outcome.CANCELLED


async def test_who_is_cancelled_while_the_block_drains_leaves_nothing_running():
    """The drain is cut short, the plugins are closed, and the cancellation arrives."""
    writing, draining, closed = asyncio.Event(), asyncio.Event(), []

    async def hang(record):
        writing.set()
        await asyncio.Event().wait()

    async def close():
        closed.append(True)

    sink, told = ListSink(hang), []
    sink.close = close
    flow = Flow({"in": ListSource([]), "out": sink}, ["in -> out"], drain_timeout_s=3600.0)

    async def program():
        async with open_plan(flow.plan) as pipeline:
            told.append(asyncio.ensure_future(pipeline.submit({})))
            await writing.wait()
            asyncio.get_running_loop().call_soon(draining.set)

    task = asyncio.ensure_future(program())
    await draining.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed == [True]
    assert (await told[0]).outcome is Outcome.CANCELLED


async def test_a_submitted_record_may_choose_a_port():
    """The caller stands for the source, ports included."""
    plugins = {"in": ListSource([]), "odd": ListSink(), "even": ListSink()}
    flow = Flow(plugins, ["in.odd -> odd", "in.even -> even"], {"in": {"ports": frozenset({"odd", "even"})}})
    record = Record({}, "1")
    record.port = "odd"
    async with open_plan(flow.plan) as pipeline:
        assert (await pipeline.submit(record)).outcome is Outcome.DELIVERED
    assert (plugins["odd"].ids, plugins["even"].ids) == (["1"], [])


async def test_a_reply_that_is_tried_again_cuts_no_stream():
    """The second attempt finds its own answer given already."""
    read = asyncio.Event()

    async def speak(record):
        completion = record["completion"] = Completion.live()
        await completion.feed(Chunk("one "))
        yield record
        await read.wait()
        await completion.feed(Chunk("two", "stop"))
        completion.finish()

    class Impatient(Reply):
        attempts = 0

        async def write(self, record):
            self.attempts += 1
            if self.attempts == 1:
                record.ticket.reply(record)
                raise WorkerError("unavailable", "later")
            asyncio.get_running_loop().call_soon(read.set)
            await super().write(record)

    settings = {"speak": {"live": True}, "out": {"retry": RetryPlan(2, 0.0, 0.0)}}
    plugins = {"in": ListSource([]), "speak": FunctionStage(speak), "out": Impatient()}
    flow = Flow(plugins, ["in -> speak", "speak -> out"], settings)
    async with open_plan(flow.plan) as pipeline:
        assert [chunk.text async for chunk in pipeline.stream({})] == ["one ", "two"]


async def test_a_wrong_file_and_a_plugin_that_does_not_open_raise(chat, tmp_path):
    """Both are told before the block begins."""
    broken = tmp_path / "broken.toml"
    broken.write_text("[pipeline]\nnam = 1\n")
    with pytest.raises(ConfigError, match=r"broken.toml:2: .*`nam` \(did you mean `name`\?\)"):
        async with dagflow.open(broken):
            pass
    path = chat()
    path.write_text(path.read_text().replace('type = "reply"', 'type = "jsonl"\npath = "no/such/folder/x"'))
    with pytest.raises(OpenFailed, match="`out`"):
        async with dagflow.open(path):
            pass


async def test_a_submit_during_the_drain_is_refused_at_once(chat):
    """It does not wait for the records in flight to be finished."""
    held = anyio.Event()

    async def leave():
        async with dagflow.open(chat(worker='delay = "1h"')) as pipeline:
            first = asyncio.ensure_future(pipeline.submit({"input": "x", "n": 0}))
            opened.append((pipeline, first))
            await wait_all_tasks_blocked()
            held.set()

    opened = []
    leaving = asyncio.ensure_future(leave())
    await held.wait()
    await wait_all_tasks_blocked()
    pipeline, first = opened[0]
    assert pipeline.report()["in_flight"] == 1
    with pytest.raises(PipelineClosed):
        await asyncio.wait_for(pipeline.submit({"input": "late", "n": 1}), 5)
    first.cancel()
    await leaving


@pytest.mark.parametrize("record", ["text", ["a"], None])
async def test_what_is_no_record_is_refused_in_words(chat, record):
    """Not with what Python says of dictionaries."""
    async with dagflow.open(chat()) as pipeline:
        with pytest.raises(TypeError, match=f"a record is a mapping of fields.*, not a `{type(record).__name__}`"):
            await pipeline.submit(record)


@pytest.mark.parametrize("attribute", ["priority", "deadline"])
async def test_a_record_with_odd_attributes_is_refused(chat, attribute):
    """Whoever submits it is told; nobody else notices."""
    async with dagflow.open(chat()) as pipeline:
        with pytest.raises(ValueError, match=f"`{attribute}` should be .*, but is `'30s'`"):
            await pipeline.submit(Record({"input": "x", "n": 0}, **{attribute: "30s"}))
        assert (await pipeline.submit({"input": "y", "n": 1})).outcome is Outcome.DELIVERED


async def test_a_stream_that_breaks_raises_after_its_chunks():
    """What came is given; then the caller is told how the record ended, and why."""

    async def speak(record):
        completion = record["completion"] = Completion.live()
        await completion.feed(Chunk("half "))
        yield record
        completion.finish(WorkerError("unavailable", "the line is dead"))

    plugins = {"in": ListSource([]), "speak": FunctionStage(speak), "out": Reply()}
    flow = Flow(plugins, ["in -> speak", "speak -> out"], {"speak": {"live": True}})
    async with open_plan(flow.plan) as pipeline:
        stream = pipeline.stream({"input": "x"})
        assert (await anext(stream)).text == "half "
        with pytest.raises(NotDelivered, match="the record was failed: the line is dead") as caught:
            await anext(stream)
    assert caught.value.outcome is Outcome.FAILED
    assert caught.value.error.code == "worker-unavailable"


async def test_an_answer_without_fields_is_an_answer():
    """A `reply` with an empty record is not mistaken for none."""

    async def answer(record):
        record.ticket.reply(Record({}, "the answer"))

    flow = Flow({"in": ListSource([]), "out": ListSink(answer)}, ["in -> out"])
    async with open_plan(flow.plan) as pipeline:
        result = await pipeline.submit({"input": "x"})
    assert result.record.id == "the answer"


async def test_a_caller_leaves_nothing_behind(chat):
    """What submissions and results are made of is gone with them, without the garbage collector."""
    async with dagflow.open(chat("null")) as pipeline:
        gc.collect()
        gc.disable()
        before = _records_alive()
        try:
            for n in range(50):
                await pipeline.submit({"input": "x", "n": n})
                async for _ in pipeline.stream({"input": "x", "n": n}):
                    pass
            left = _records_alive() - before
        finally:
            gc.enable()
    assert left < 5


def _records_alive():
    return sum(isinstance(each, Submission | Record) for each in gc.get_objects())


async def test_one_object_may_be_submitted_again_and_again(chat):
    """Each time is a record of its own; so is a result that goes in once more."""
    record = Record({"input": "x", "n": 0}, "mine")
    async with dagflow.open(chat()) as pipeline:
        results = await asyncio.gather(*(pipeline.submit(record) for _ in range(5)))
        results.append(await pipeline.submit(results[0].record))
    assert [result.outcome for result in results] == [Outcome.DELIVERED] * 6
    assert {result.record.id for result in results} == {"mine"}


async def test_nobody_waits_for_a_run_that_broke():
    """Where the engine itself fails, with what was accepted, callers are told instead of waiting for ever."""

    async def spoil(record):
        record.deadline = "soon"
        return record

    flow = Flow({"in": ListSource([]), "s": FunctionStage(spoil), "out": ListSink()}, ["in -> s", "s -> out"])
    refused = []

    async def program():
        async with open_plan(flow.plan) as pipeline:
            with pytest.raises(PipelineClosed):
                await asyncio.wait_for(pipeline.submit({"input": "x"}), 10)
            refused.append(True)

    with pytest.raises(ExceptionGroup):
        await program()
    assert refused == [True]


async def test_a_stream_is_given_whole_where_a_sink_has_read_it():
    """A sink that forwards chunks elsewhere has had them: the caller gets the answer in one."""

    async def speak(record):
        completion = record["completion"] = Completion.live()
        await completion.feed(Chunk("one "))
        yield record
        await completion.feed(Chunk("two", "stop"))
        completion.finish()

    async def read(record):
        assert [chunk.text async for chunk in record["completion"].chunks()] == ["one ", "two"]

    plugins = {"in": ListSource([]), "speak": FunctionStage(speak), "out": ListSink(read)}
    flow = Flow(plugins, ["in -> speak", "speak -> out"], {"speak": {"live": True}})
    async with open_plan(flow.plan) as pipeline:
        chunks = [chunk.text async for chunk in pipeline.stream({"input": "x"})]
    assert chunks == ["one two"]


async def test_an_unknown_source_is_told(chat):
    """The caller learns which sources there are."""
    async with dagflow.open(chat()) as pipeline:
        with pytest.raises(ValueError, match="the file has in"):
            await pipeline.submit({"input": "x"}, source="nope")


def test_reply_needs_no_caller(chat):
    """A batch may end in `reply`: nobody reads the answers, and nothing waits for that."""
    path = chat()
    words = " ".join(map(str, range(500)))
    report = dagflow.run(path, overrides=["sources.in.count=3", f"sources.in.input={words}"])
    assert report["outcomes"]["delivered"] == 3


def test_run_is_the_blocking_form(chat):
    """It runs the file's own sources to their end and gives the report."""
    report = dagflow.run(chat("null"), overrides=["sources.in.count=25"])
    assert report["outcomes"]["delivered"] == report["accepted"] == 25


def test_run_works_in_any_thread(chat):
    """Signals are the main thread's; elsewhere a run goes without them."""
    path, reports = chat("null"), []
    thread = threading.Thread(target=lambda: reports.append(dagflow.run(path, overrides=["sources.in.count=5"])))
    thread.start()
    thread.join(30)
    assert reports[0]["outcomes"]["delivered"] == 5


def test_a_pipeline_that_is_embedded_has_its_admin_listener(tmp_path):
    """The table `[admin]` of the file holds there, too."""
    token = tmp_path / "token.json"
    file = tmp_path / "p.toml"
    file.write_text(
        '[pipeline]\nedges = [{ from = "in", to = "out" }]\n[sources.in]\ntype = "generate"\n[sinks.out]\n'
        'type = "null"\n[admin]\nlisten = "127.0.0.1:0"\ntoken_file = "token.json"\n'
    )

    async def main():
        async with dagflow.open(file) as pipeline:
            assert token.exists()
            await pipeline.submit({"input": "x"})

    asyncio.run(main())
    assert not token.exists()
