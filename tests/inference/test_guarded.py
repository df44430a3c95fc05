"""A worker behind its guards: what it answers, what is counted, and what ends a call."""

from __future__ import annotations

import asyncio
import time

import pytest
from desk import guarded

from dagflow.completion import Completion
from dagflow.errors import WorkerError
from dagflow.exchange import Chunk, Embeddings, Request, Usage
from dagflow.plugin import ModelWorker
from dagflow.testing import Answer, ScriptedWorker

pytestmark = pytest.mark.anyio
ASK = Request(prompt="Why?")


class Steps(ModelWorker):
    """Streams what the test sets free, and notes whether it was closed."""

    def __init__(self, *chunks, error=None):
        super().__init__()
        self.chunks = chunks
        self.error = error
        self.go = asyncio.Event()
        self.closed = False

    async def infer(self, request):
        """Answer when set free."""
        try:
            await self.go.wait()
        finally:
            self.closed = True
        return Completion("done", usage=Usage(3, 4))

    async def stream(self, request):
        """Give the chunks, then wait to be set free."""
        try:
            for chunk in self.chunks:
                yield chunk
            await self.go.wait()
            if self.error is not None:
                raise self.error
            yield Chunk("!", "stop", Usage(3, 4))
        finally:
            self.closed = True

    async def embed(self, texts):
        """Give a plain list."""
        return [[float(len(text))] for text in texts]


async def chunks_of(worker, request=ASK):
    """Read a stream to its end."""
    return [chunk async for chunk in worker.stream(request)]


async def test_an_answer_is_counted_and_priced():
    """Whole, streamed and embedded alike; a second pricing changes nothing."""
    worker = guarded(ScriptedWorker([Answer("one two", usage=Usage(10, 2))] * 2), prices={"input": 1.0, "output": 5.0})
    completion = await worker.infer(ASK)
    assert completion.usage == Usage(10, 2, cost=pytest.approx(20e-6))
    *_, last = await chunks_of(worker)
    assert last.usage.cost == pytest.approx(20e-6)
    books = worker.as_dict()
    assert (books["calls"], books["answered"], books["busy"]) == (2, 2, 0)
    assert (books["input_tokens"], books["output_tokens"], books["cost"]) == (20, 4, pytest.approx(40e-6))
    assert books["first_chunk_p50_s"] is not None
    assert guarded(Steps())._charged(None) is None


async def test_vectors_know_their_usage():
    """A plain list becomes one that could."""
    vectors = await guarded(Steps()).embed(["a", "bc"])
    assert vectors == [[1.0], [2.0]]
    assert isinstance(vectors, Embeddings)
    assert vectors.usage is None


async def test_errors_are_counted_by_class_and_name_the_worker():
    """A bug is one, too."""
    worker = guarded(ScriptedWorker([WorkerError("refused", "no such model"), ValueError("oops"), "fine"]))
    with pytest.raises(WorkerError, match=r"^worker `main`: no such model$"):
        await worker.infer(ASK)
    with pytest.raises(ValueError, match="oops"):
        await chunks_of(worker)
    await worker.infer(ASK)
    assert worker.as_dict()["errors"] == {"refused": 1, "bug": 1}
    assert worker.as_dict()["answered"] == 1


async def test_a_stream_without_a_finish_reason_is_a_failure():
    """Never a clean end, and the breaker learns of it."""

    class Cut(Steps):
        async def stream(self, request):
            """End too early."""
            yield Chunk("half an ans")

    worker = guarded(Cut(), breaker={"failures": 1, "calls": 1})
    with pytest.raises(WorkerError, match="ended without a finish reason") as caught:
        await chunks_of(worker)
    assert caught.value.kind == "protocol"
    assert worker.as_dict()["breaker"]["state"] == "open"
    assert worker.as_dict()["unmetered"] == 1


@pytest.mark.parametrize(
    ("timeouts", "chunks", "named"),
    [
        ({"first_token_timeout": "10ms", "idle_timeout": "1h"}, (), "first_token_timeout` of 10ms"),
        ({"idle_timeout": "10ms"}, (Chunk("a"),), "idle_timeout` of 10ms"),
        ({"idle_timeout": "10ms", "first_token_timeout": "1h"}, (Chunk("a"),), "idle_timeout` of 10ms"),
        ({"total_timeout": "10ms"}, (Chunk("a"),), "total_timeout` of 10ms"),
        ({"total_timeout": "10ms", "idle_timeout": "1h"}, (), "total_timeout` of 10ms"),
    ],
)
async def test_a_stream_that_takes_too_long(timeouts, chunks, named):
    """It is closed, it fails as a timeout, and the error says which bound it was."""
    steps = Steps(*chunks)
    worker = guarded(steps, **timeouts)
    with pytest.raises(WorkerError, match=named) as caught:
        await chunks_of(worker)
    assert caught.value.kind == "timeout"
    assert steps.closed
    assert worker.as_dict()["errors"] == {"timeout": 1}
    assert asyncio.current_task().cancelling() == 0


async def test_a_timeout_in_the_same_moment_as_a_cancellation_is_that():
    """A watch takes back no cancellation but its own."""
    steps = Steps(Chunk("a"))
    task = asyncio.ensure_future(chunks_of(guarded(steps, idle_timeout="10ms")))
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    loop.call_at(loop.time() + 0.001, task.cancel)
    time.sleep(0.02)  # noqa: ASYNC251 (both timers are due when the loop looks again)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps.closed


async def test_a_whole_answer_that_takes_too_long():
    """Its wait is cancelled."""
    steps = Steps()
    with pytest.raises(WorkerError, match="`total_timeout` of 10ms"):
        await guarded(steps, total_timeout="10ms").infer(ASK)
    assert steps.closed


async def test_what_the_reader_takes_is_no_pause_of_the_server():
    """Only waiting for the server counts as idle."""
    steps = Steps(Chunk("a"), Chunk("b"))
    steps.go.set()
    worker = guarded(steps, idle_timeout="20ms")
    async for _ in worker.stream(ASK):
        await asyncio.sleep(0.05)
    assert worker.as_dict()["answered"] == 1


async def test_the_total_runs_while_the_reader_takes_its_time():
    """It is the whole call that is bounded."""
    worker = guarded(Steps(Chunk("a"), Chunk("b")), total_timeout="20ms")

    async def read_slowly():
        async for _ in worker.stream(ASK):
            await asyncio.sleep(0.05)

    with pytest.raises(WorkerError, match="total_timeout"):
        await read_slowly()


async def test_workers_behind_a_network_have_timeouts_without_a_word():
    """120 s in all, 60 s to the first chunk; others have none."""

    class Far(Steps):
        remote = True

    far, near = guarded(Far())._timeouts, guarded(Steps())._timeouts
    assert (far.total_s, far.first_token_s) == (120.0, 60.0)
    assert not near.are_set
    assert guarded(Far(), total_timeout="5s")._timeouts.total_s == 5.0


@pytest.mark.parametrize("reads", [0, 1])
async def test_a_cancellation_closes_the_stream_and_is_no_failure(reads):
    """Before the first chunk, and after it."""
    steps = Steps(*[Chunk("a")] * reads)
    worker = guarded(steps, first_token_timeout="1h", breaker={"failures": 1, "calls": 1})
    task = asyncio.ensure_future(chunks_of(worker))
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps.closed
    assert worker.as_dict()["errors"] == {"cancelled": 1}
    assert worker.as_dict()["breaker"]["state"] == "closed"
    assert worker.as_dict()["busy"] == 0


async def test_a_reader_that_stops_early_is_a_cancellation():
    """Closing the stream closes the worker's."""
    steps = Steps(Chunk("a"))
    worker = guarded(steps, idle_timeout="1h")
    stream = worker.stream(ASK)
    assert (await anext(stream)).text == "a"
    await stream.aclose()
    assert steps.closed
    assert worker.as_dict()["errors"] == {"cancelled": 1}


async def test_the_stages_timeout_counts_for_the_breaker():
    """Whoever asks gives up after its timeout, of which the worker had all: the worker is to blame."""
    worker = guarded(Steps(), breaker={"failures": 1, "calls": 1})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await worker.infer(Request(prompt="", timeout_s=0.02))
    assert worker.as_dict()["errors"] == {"timeout": 1}
    assert worker.as_dict()["breaker"]["state"] == "open"


async def test_what_is_turned_away_is_counted():
    """It was no call."""
    worker = guarded(ScriptedWorker([WorkerError("timeout", "slow")]), breaker={"failures": 1, "calls": 1})
    for _ in range(3):
        with pytest.raises(WorkerError):
            await worker.infer(ASK)
    assert (worker.as_dict()["calls"], worker.as_dict()["turned_away"]) == (1, 2)


async def test_all_guards_together_keep_their_books():
    """Many calls with all kinds of ends: nothing is left busy, reserved or waiting."""
    answers = [
        "ok",
        WorkerError("overloaded", "busy"),
        WorkerError("timeout", "slow"),
        ValueError("bug"),
        Answer("x", 60),
    ]
    worker = guarded(
        ScriptedWorker(answers[index % 5] for index in range(200)),
        max_in_flight=8,
        adaptive={"max": 8},
        limits=[{"requests": "100k/s", "tokens": "1M tokens/s"}],
        breaker={"failures": 10, "calls": 10},
        prices={"input": 1.0},
        budget={"warn": 1.0, "reject": 100.0},
        total_timeout="30s",
    )

    async def ask(index):
        if index % 2:
            await chunks_of(worker)
        else:
            await worker.infer(ASK)

    tasks = [asyncio.ensure_future(ask(index)) for index in range(200)]
    for _ in range(50):
        await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    while undone := [task for task in tasks if not task.done()]:
        undone[0].cancel()  # some hang, as scripted, and others wait behind them
        await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    books = worker.as_dict()
    assert (books["busy"], books["waiting"], books["concurrency"]["busy"]) == (0, 0, 0)
    assert books["calls"] == books["answered"] + sum(books["errors"].values())
    budget = next(guard for guard in worker._guards if guard.name == "budget")
    assert (budget._total._held, budget._reserved) == (0.0, {})
    assert all(not guard._reserved for guard in worker._limits)
