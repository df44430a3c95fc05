"""Stage `inference`: what a worker is asked, and what becomes of its answer, whole and live."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest
from alone import Clock, build, complaints, opened
from anyio import wait_all_tasks_blocked

from dagflow.completion import Completion
from dagflow.errors import InvalidField, PluginBug, StreamCut, WorkerError
from dagflow.exchange import Chunk, Request, Usage
from dagflow.plugin import ModelWorker
from dagflow.record import Record
from dagflow.stages.inference import Inference

pytestmark = pytest.mark.anyio

CHAT = [{"role": "user", "content": "hi"}]
LAST = Chunk("!", "stop", Usage(3, 2), "m")


class Script(ModelWorker):
    """Streams what it is told: chunks, exceptions to raise, callables to await. Remembers the requests."""

    def __init__(self, *steps: Chunk | Exception | Callable[[], Any]) -> None:
        super().__init__()
        self.steps = steps
        self.requests: list[Request] = []
        self.closed = 0

    async def infer(self, request: Request) -> Completion:
        self.requests.append(request)
        if isinstance(self.steps[0], Exception):
            raise self.steps[0]
        return Completion("whole", "stop", "m", Usage(3, 2))

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        self.requests.append(request)
        try:
            for step in self.steps:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, Chunk):
                    yield step
                else:
                    await step()
        finally:
            self.closed += 1


def inference(worker: ModelWorker, live: bool = False, clock: Any = None, **options: Any) -> Any:
    """Open the stage with one worker."""
    more = {"clock": clock} if clock else {}
    return opened(build(Inference, worker="main", **options), name="llm", workers={"main": worker}, live=live, **more)


def counted(stage: Inference) -> dict[str, int]:
    """Give the stage's counters."""
    return {name: counter.value for name, counter in stage.context.metrics.counters.items()}


async def ask(fields: dict[str, Any], of_record: dict[str, Any] | None = None, **options: Any) -> Request:
    """Give the request that a record leads to."""
    worker = Script(LAST)
    async with inference(worker, **options) as stage:
        await stage.process(Record(fields, **of_record or {}))
    (request,) = worker.requests
    return request


async def test_the_completion_is_written_and_counted() -> None:
    """Tokens are counted where the worker tells them."""
    async with inference(Script(LAST)) as stage:
        record = Record({"prompt": "hi"})
        assert await stage.process(record) is record
        assert counted(stage) == {"input_tokens": 3, "output_tokens": 2}
    assert record["completion"].text == "whole"


async def test_a_prompt_goes_before_messages() -> None:
    """As a stage has written it on purpose."""
    request = await ask({"prompt": "p", "messages": CHAT})
    assert (request.prompt, request.messages) == ("p", None)
    request = await ask({"messages": CHAT})
    assert (request.prompt, request.messages) == (None, CHAT)


async def test_parameters_of_the_record_override_those_of_the_stage() -> None:
    """Others stay."""
    request = await ask(
        {"prompt": "p", "parameters": {"temperature": 0}}, parameters={"temperature": 1, "max_tokens": 5}
    )
    assert request.parameters == {"temperature": 0, "max_tokens": 5}


async def test_the_request_carries_what_the_record_knows() -> None:
    """Model, session, deadline, and names for logs."""
    request = await ask({"prompt": "p", "model": "big"}, {"id": "a:1", "session": "s", "deadline": 9.0})
    assert (request.model, request.session, request.deadline) == ("big", "s", 9.0)
    assert request.metadata == {"id": "a:1", "node": "llm"}
    assert (await ask({"prompt": "p"}, {"meta": {"model": "small"}})).model == "small"
    assert (await ask({"prompt": "p"})).model is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "field `prompt` should be there, or else `messages`, but it is missing"),
        ({"prompt": 5}, "field `prompt` should be a text, but it is of type `int`"),
        ({"messages": "hi"}, "field `messages` should be a list of chat messages.* of type `str`"),
        ({"messages": [*CHAT, "hi"]}, r"field `messages\[1\]` should be an object with `role` and `content`.* `str`"),
        ({"messages": [{"role": "user", "content": 5}]}, r"field `messages\[0\]` should be an object with `role`"),
        ({"prompt": "p", "model": 5}, "field `model` should be the name of a model, but it is of type `int`"),
        ({"prompt": "p", "parameters": [1]}, "field `parameters` should be a table.* of type `list`"),
    ],
)
@pytest.mark.parametrize("live", [False, True])
async def test_bad_fields_fail_the_record(fields: dict[str, Any], message: str, live: bool) -> None:
    """Before the worker is asked."""
    worker = Script(LAST)
    async with inference(worker, live) as stage:
        with pytest.raises(InvalidField, match=message):
            await (anext(stage.process(Record(fields))) if live else stage.process(Record(fields)))
    assert worker.requests == []


async def test_errors_of_the_worker_come_through() -> None:
    """So that they can be retried as what they are."""
    async with inference(Script(WorkerError("overloaded", "busy"))) as stage:
        with pytest.raises(WorkerError, match="busy"):
            await stage.process(Record({"prompt": "p"}))


async def test_live_hands_the_record_on_with_the_first_chunk() -> None:
    """And keeps feeding it while somebody reads."""
    gate = asyncio.Event()
    worker = Script(Chunk("a"), gate.wait, Chunk("b"), LAST)
    async with inference(worker, live=True) as stage:
        assert inspect.isasyncgenfunction(stage.process)
        run = stage.process(Record({"prompt": "p"}))
        record = await anext(run)
        completion = record["completion"]
        assert (completion.is_live, completion.text) == (True, "a")
        rest = asyncio.create_task(anext(run, None))
        await wait_all_tasks_blocked()
        assert completion.is_live
        gate.set()
        assert [chunk.text async for chunk in completion.chunks()] == ["a", "b", "!"]
        assert await rest is None
        assert counted(stage) == {"input_tokens": 3, "output_tokens": 2}
    assert worker.closed == 1


async def test_the_time_to_the_first_chunk_is_measured() -> None:
    """On the pipeline's clock."""
    clock = Clock()
    worker = Script(lambda: clock.sleep(0.25), Chunk("a"), lambda: clock.sleep(5), LAST)
    async with inference(worker, live=True, clock=clock) as stage:
        async with aclosing(stage.process(Record({"prompt": "p"}))) as run:
            async for _ in run:
                pass
        assert stage.context.metrics.histograms["first_chunk"].quantile_s(1) == pytest.approx(0.25, rel=0.03)


async def test_an_error_before_the_first_chunk_is_raised() -> None:
    """Nothing was shown, so that it can be retried."""
    worker = Script(WorkerError("unavailable", "down"))
    async with inference(worker, live=True) as stage:
        record = Record({"prompt": "p"})
        with pytest.raises(WorkerError, match="down"):
            await anext(stage.process(record))
    assert "completion" not in record
    assert worker.closed == 1


async def test_an_empty_stream_is_an_error_before_the_first_chunk() -> None:
    """It is the worker's."""
    async with inference(Script(), live=True) as stage:
        with pytest.raises(WorkerError, match="ended without a finish reason"):
            await anext(stage.process(Record({"prompt": "p"})))


@pytest.mark.parametrize(
    ("step", "kind", "message"),
    [
        (WorkerError("unavailable", "gone"), WorkerError, "gone"),
        (RuntimeError("oops"), PluginBug, "RuntimeError: oops"),
        (Chunk(""), WorkerError, "without a finish reason"),
    ],
)
async def test_an_error_after_the_first_chunk_goes_into_the_completion(step: Any, kind: type, message: str) -> None:
    """The stage ends well, and the reader learns what broke, and where."""
    worker = Script(Chunk("a"), step)
    async with inference(worker, live=True) as stage:
        (record,) = [record async for record in stage.process(Record({"prompt": "p"}))]
    with pytest.raises(kind, match=message) as caught:
        await record["completion"].whole()
    assert caught.value.node == "llm"
    assert worker.closed == 1


async def test_cancelling_ends_the_stream_with_an_error() -> None:
    """The reader is not left waiting, and the worker's stream is closed."""
    worker = Script(Chunk("a"), asyncio.Event().wait)
    async with inference(worker, live=True) as stage:
        run = stage.process(Record({"prompt": "p"}))
        record = await anext(run)
        rest = asyncio.create_task(anext(run, None))
        await wait_all_tasks_blocked()
        rest.cancel()
        with pytest.raises(asyncio.CancelledError):
            await rest
    with pytest.raises(StreamCut) as caught:
        await record["completion"].whole()
    assert caught.value.node == "llm"
    assert worker.closed == 1


async def test_closing_the_generator_ends_the_stream_with_an_error() -> None:
    """As cancelling does."""
    worker = Script(Chunk("a"), LAST)
    async with inference(worker, live=True) as stage:
        run = stage.process(Record({"prompt": "p"}))
        record = await anext(run)
        await run.aclose()
    with pytest.raises(StreamCut):
        await record["completion"].wait_ended()
    assert worker.closed == 1


async def test_stream_false_keeps_answers_whole() -> None:
    """Even where they could be live."""
    async with inference(Script(LAST), live=True, stream=False) as stage:
        record = await stage.process(Record({"prompt": "p"}))
    assert not record["completion"].is_live


@pytest.mark.parametrize("live", [False, True])
async def test_an_output_of_its_own_gets_a_whole_answer(live: bool) -> None:
    """Nothing that follows forwards the chunks of another field than `completion`."""
    async with inference(Script(LAST), live, output="draft") as stage:
        record = await stage.process(Record({"prompt": "p"}))
        assert stage.writes() == {"draft"}
        assert (record["draft"].text, "completion" in record) == ("whole", False)


def test_fields() -> None:
    """Either of two fields will do."""
    stage = build(Inference, worker="main")
    assert (stage.reads(), stage.reads_any(), stage.writes()) == (set(), [{"prompt", "messages"}], {"completion"})


def test_bad_options() -> None:
    """A worker is needed."""
    assert complaints(Inference) == [("worker", "Field required")]
    assert complaints(Inference, worker="main", parameters=5)[0][0] == "parameters"
