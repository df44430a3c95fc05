"""Single-flight and cache: what is asked once, who pays, and what happens when somebody leaves."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from desk import guarded, tenant

from dagflow.completion import Completion
from dagflow.errors import StreamCut, WorkerError
from dagflow.exchange import Chunk, Request, Usage
from dagflow.inference.sharing import Sharing
from dagflow.live_stream import LIVE_CAPACITY
from dagflow.plugin import ModelWorker
from dagflow.store.answers import MemoryAnswers
from dagflow.testing import Answer, ScriptedWorker

pytestmark = pytest.mark.anyio
ASK = Request(prompt="Why?", parameters={"temperature": 0.5})


class Paced(ModelWorker):
    """Streams what the test feeds into it."""

    def __init__(self):
        super().__init__()
        self.asked = 0
        self.closed = 0
        self.requests = []
        self.feed = asyncio.Queue()

    async def infer(self, request):
        """Answer with what is fed first."""
        chunks = [chunk async for chunk in self.stream(request)]
        return Completion.of(chunks)

    async def stream(self, request):
        """Pass on what is fed, to its end."""
        self.asked += 1
        self.requests.append(request)
        try:
            while True:
                fed = await self.feed.get()
                if isinstance(fed, Exception):
                    raise fed
                yield fed
                if fed.finish_reason:
                    return
        finally:
            self.closed += 1

    def say(self, *texts, end=True):
        """Feed some chunks, the last of which ends the answer."""
        for text in texts:
            self.feed.put_nowait(Chunk(text))
        if end:
            self.feed.put_nowait(Chunk("", "stop", Usage(2, 3)))


class Reader:
    """Reads a stream in a task, and keeps what came."""

    def __init__(self, sharing, request=ASK):
        self.chunks = []
        self.task = asyncio.ensure_future(self._read(sharing.stream(request)))

    async def _read(self, stream):
        try:
            async for chunk in stream:
                self.chunks.append(chunk)
        finally:
            await stream.aclose()

    @property
    def text(self):
        """What has come."""
        return "".join(chunk.text for chunk in self.chunks)


async def settled():
    """Let all tasks run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def shared(worker, cache=None, **keys):
    """Share the calls of a worker."""
    return Sharing(guarded(worker, **keys), cache, dedup=True)


def cached(worker, **keys):
    """Keep the answers of a worker."""
    return Sharing(guarded(worker, **keys), MemoryAnswers(10, None), dedup=False)


async def test_identical_requests_share_a_call():
    """Each gets its own completion; the first pays, and the others say that they did not."""
    worker = Paced()
    sharing = shared(worker, prices={"output": 1.0})
    tasks = [asyncio.ensure_future(sharing.infer(replace(ASK))) for _ in range(5)]
    await settled()
    worker.say("so")
    answers = await asyncio.gather(*tasks)
    assert worker.asked == 1
    assert [answer.text for answer in answers] == ["so"] * 5
    assert len(set(map(id, answers))) == 5
    assert [answer.shared for answer in answers] == [None] + ["flight"] * 4
    assert [answer.usage.cost for answer in answers] == [pytest.approx(3e-6), 0.0, 0.0, 0.0, 0.0]
    assert sharing._worker.as_dict()["output_tokens"] == 3


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "Who?"},
        {"model": "m"},
        {"parameters": {"temperature": 0.6}},
        {"prompt": None, "messages": [{"role": "user", "content": "Why?"}]},
    ],
)
async def test_others_do_not(other):
    """Another prompt, model or parameter is another question."""
    worker = Paced()
    sharing = shared(worker)
    tasks = [asyncio.ensure_future(sharing.infer(request)) for request in (ASK, replace(ASK, **other))]
    await settled()
    assert worker.asked == 2
    worker.say("a")
    worker.say("b")
    await asyncio.gather(*tasks)


async def test_the_key_of_the_limits_counts():
    """What one tenant paid for is not another's."""
    worker = Paced()
    limits = [{"requests": "100/s", "key": "meta.tenant"}]
    sharing = shared(worker, limits=limits)
    tasks = [asyncio.ensure_future(sharing.infer(replace(ASK, record=tenant(name)))) for name in "aab"]
    await settled()
    assert worker.asked == 2
    worker.say("x")
    worker.say("x")
    await asyncio.gather(*tasks)


async def test_the_order_of_parameters_does_not_matter():
    """Nor does the session."""
    worker = Paced()
    sharing = shared(worker)
    requests = [
        Request(prompt="", parameters={"a": 1, "b": 2}),
        Request(prompt="", parameters={"b": 2, "a": 1}, session="s"),
    ]
    tasks = [asyncio.ensure_future(sharing.infer(request)) for request in requests]
    await settled()
    worker.say("x")
    await asyncio.gather(*tasks)
    assert worker.asked == 1


async def test_a_follower_gets_the_start_again_and_then_lives_on():
    """A stream that is under way is joined, not begun anew."""
    worker = Paced()
    sharing = shared(worker)
    first = Reader(sharing)
    worker.say("a ", "b ", end=False)
    await settled()
    second = Reader(sharing)
    await settled()
    assert (first.text, second.text) == ("a b ", "a b ")
    worker.say("c")
    await asyncio.gather(first.task, second.task)
    assert (first.text, second.text) == ("a b c", "a b c")
    assert (worker.asked, second.chunks[-1].shared, first.chunks[-1].shared) == (1, "flight", None)


@pytest.mark.parametrize("said", [(), ("a ",)])
async def test_a_leader_that_is_cancelled_hands_over(said):
    """The call goes on, before its first chunk and after it, and is never begun again; it is the heir's, who pays."""
    worker = Paced()
    sharing = shared(worker, prices={"output": 1.0})
    leader = Reader(sharing)
    await settled()
    worker.say(*said, end=False)
    follower = Reader(sharing)
    await settled()
    leader.task.cancel()
    await settled()
    assert worker.closed == 0
    worker.say("end")
    await follower.task
    assert follower.text == "".join(said) + "end"
    assert worker.asked == 1
    answer = Completion.of(follower.chunks)
    assert (answer.shared, answer.usage.cost) == (None, pytest.approx(3e-6))


async def test_whoever_pays_has_the_last_usage():
    """Where a stream tells its usage more than once, the newest holds, and one of all has its cost."""
    worker = Paced()
    sharing = shared(worker, prices={"output": 1.0})
    readers = [Reader(sharing) for _ in range(2)]
    worker.feed.put_nowait(Chunk("a", usage=Usage(2, 1)))
    worker.say("b")
    await asyncio.gather(*(reader.task for reader in readers))
    first, second = (Completion.of(reader.chunks) for reader in readers)
    assert (first.shared, first.usage.cost) == (None, pytest.approx(3e-6))
    assert (second.shared, second.usage.cost) == ("flight", 0.0)


async def test_a_call_that_ends_itself_by_a_cancellation_has_failed():
    """Some clients raise one when a connection goes; its listeners were not cancelled, and nothing is whole."""

    class Gone(Paced):
        async def stream(self, request):
            """Break off."""
            yield Chunk("a")
            raise asyncio.CancelledError

    sharing = shared(Gone())
    with pytest.raises(StreamCut):
        await sharing.infer(ASK)
    reader = Reader(sharing)
    with pytest.raises(StreamCut):
        await reader.task
    assert reader.text == "a"


async def test_the_last_listener_ends_the_call():
    """At once, and the next request begins a new one."""
    worker = Paced()
    sharing = shared(worker)
    readers = [Reader(sharing) for _ in range(3)]
    await settled()
    for reader in readers:
        assert worker.closed == 0
        reader.task.cancel()
        await settled()
    assert worker.closed == 1
    again = Reader(sharing)
    await settled()
    worker.say("new")
    await again.task
    assert (worker.asked, again.text) == (2, "new")


async def test_the_error_is_shared():
    """Each has its own outcome of it, after the chunks before it."""
    worker = Paced()
    sharing = shared(worker)
    readers = [Reader(sharing) for _ in range(3)]
    await settled()
    worker.say("a", end=False)
    worker.feed.put_nowait(WorkerError("unavailable", "gone"))
    results = await asyncio.gather(*(reader.task for reader in readers), return_exceptions=True)
    assert [str(result) for result in results] == ["worker `main`: gone"] * 3
    assert {reader.text for reader in readers} == {"a"}
    assert worker.asked == 1


async def test_a_shared_call_has_the_longest_deadline_and_the_highest_priority():
    """The impatience of one is not the end for all."""
    worker = Paced()
    sharing = shared(worker)
    requests = [
        replace(ASK, deadline=1e9, priority=1),
        replace(ASK, deadline=2e9, priority=7),
        replace(ASK, deadline=None),
    ]
    readers = [Reader(sharing, requests[0])]
    await settled()
    [asked] = worker.requests
    seen = [(asked.deadline, asked.priority)]
    for request in requests[1:]:
        readers.append(Reader(sharing, request))
        await settled()
        seen.append((asked.deadline, asked.priority))
    assert seen == [(1e9, 1), (2e9, 7), (None, 7)]
    for reader in readers:
        reader.task.cancel()
    await settled()
    assert requests[0].deadline == 1e9


async def test_readers_that_lag_hold_the_worker_back():
    """It is never further ahead of the fastest than a live stream may be."""
    worker = Paced()
    sharing = shared(worker)
    stream = sharing.stream(ASK)
    worker.say(*["x"] * 500)
    assert (await anext(stream)).text == "x"
    await settled()
    assert 500 - worker.feed.qsize() <= LIVE_CAPACITY + 3
    assert len([chunk async for chunk in stream]) == 500


async def test_answers_are_kept():
    """Whole and streamed alike; a hit says so and costs nothing."""
    worker = ScriptedWorker([Answer("one two", usage=Usage(4, 2))])
    sharing = cached(worker, prices={"input": 1.0})
    first = await sharing.infer(ASK)
    second = await sharing.infer(ASK)
    [streamed] = [chunk async for chunk in sharing.stream(ASK)]
    assert (first.shared, first.usage.cost) == (None, pytest.approx(4e-6))
    assert (second.text, second.shared, second.usage) == ("one two", "cache", Usage(4, 2, cost=0.0))
    assert (streamed.text, streamed.shared, streamed.finish_reason) == ("one two", "cache", "stop")


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_incomplete_answers_are_not_kept(reason):
    """They would stay incomplete for ever."""
    worker = ScriptedWorker([Answer("half", finish_reason=reason), "whole"])
    sharing = cached(worker)
    assert [(await sharing.infer(ASK)).text for _ in range(2)] == ["half", "whole"]


async def test_a_stream_that_breaks_or_is_left_is_not_kept():
    """Nor one that nobody read to its end."""
    worker = ScriptedWorker([Answer("a b c", cut_after=2), "a b c", "whole"])
    sharing = cached(worker)
    broken = Reader(sharing)
    await asyncio.gather(broken.task, return_exceptions=True)
    left = sharing.stream(ASK)
    await anext(left)
    await left.aclose()
    assert (await sharing.infer(ASK)).text == "whole"
    assert (await sharing.infer(ASK)).shared == "cache"


async def test_another_worker_has_another_cache():
    """What answers is part of the question; its secrets are not."""
    answers = MemoryAnswers(10, None)
    first = Sharing(guarded(ScriptedWorker(["a"])), answers, dedup=False)
    second = Sharing(guarded(ScriptedWorker(["b"]), members={"m": guarded(ScriptedWorker())}), answers, dedup=False)
    assert [(await sharing.infer(ASK)).text for sharing in (first, second)] == ["a", "b"]


@pytest.mark.parametrize("odd", [{"prompt": "\ud800"}, {"parameters": {1: 2}}, {"parameters": {"a": object()}}])
async def test_what_json_cannot_hold_has_a_key_as_well(odd):
    """Whether it can be asked is the worker's to say."""
    sharing = cached(ScriptedWorker(["x"]))
    request = replace(ASK, **odd)
    assert [(await sharing.infer(request)).shared for _ in range(2)] == [None, "cache"]


async def test_both_at_once():
    """The shared call fills the cache once."""
    worker = Paced()
    sharing = Sharing(guarded(worker), MemoryAnswers(10, None), dedup=True)
    readers = [Reader(sharing) for _ in range(3)]
    await settled()
    worker.say("x")
    await asyncio.gather(*(reader.task for reader in readers))
    assert (await sharing.infer(ASK)).shared == "cache"
    assert worker.asked == 1
    await sharing.close()


async def test_closing_ends_shared_calls():
    """None lives on after the stage."""
    worker = Paced()
    sharing = shared(worker)
    reader = Reader(sharing)
    await settled()
    await sharing.close()
    await settled()
    assert worker.closed == 1
    await asyncio.gather(reader.task, return_exceptions=True)


async def test_closing_waits_for_calls_that_were_left():
    """Their worker is closed next, and must not be while they still close a connection of it."""

    class Slow(Paced):
        async def stream(self, request):
            """Take a few turns of the loop to close."""
            try:
                async for chunk in super().stream(request):
                    yield chunk
            finally:
                for _ in range(30):
                    await asyncio.sleep(0)
                self.closed += 1

    worker = Slow()
    sharing = shared(worker)
    reader = Reader(sharing)
    await settled()
    reader.task.cancel()
    await asyncio.wait([reader.task])
    await sharing.close()
    assert worker.closed == 2
    assert sharing._worker.as_dict()["busy"] == 0
