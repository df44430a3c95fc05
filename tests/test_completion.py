"""Completions: whole ones, and live ones between a producer and a reader."""

from __future__ import annotations

import asyncio

import pytest
from anyio import wait_all_tasks_blocked

from dagflow.completion import Completion
from dagflow.errors import RecordError, StreamCut, WorkerError
from dagflow.exchange import Chunk, Request, Usage
from dagflow.live_stream import LIVE_CAPACITY
from dagflow.live_values import abandon_dropped, await_live

pytestmark = pytest.mark.anyio

LAST = Chunk("!", "stop", Usage(1, 2), "m")


async def feed_all(completion: Completion, chunks: list[Chunk]) -> None:
    """Feed chunks and finish."""
    for chunk in chunks:
        await completion.feed(chunk)
    completion.finish()


async def texts(completion: Completion) -> list[str]:
    """Read the texts of all chunks."""
    return [chunk.text async for chunk in completion.chunks()]


async def test_a_whole_completion_gives_itself_as_one_chunk() -> None:
    """Whoever reads chunks need not ask whether the completion is live."""
    whole = Completion("hello", "stop", "m", Usage(1, 2))
    assert [chunk async for chunk in whole.chunks()] == [Chunk("hello", "stop", Usage(1, 2), "m")]
    assert await whole.whole() is whole
    await whole.wait_ended()
    assert not whole.is_live


async def test_a_live_completion_passes_on_its_chunks_and_gathers_them() -> None:
    """The reader gets every chunk once, and the completion ends up whole."""
    live = Completion.live()
    producer = asyncio.create_task(feed_all(live, [Chunk("a"), Chunk("b"), LAST]))
    assert await texts(live) == ["a", "b", "!"]
    await producer
    assert (live.text, live.finish_reason, live.usage, live.model) == ("ab!", "stop", Usage(1, 2), "m")
    assert not live.is_live


async def test_text_so_far_can_be_read_while_live() -> None:
    """The text grows with each chunk."""
    live = Completion.live()
    await live.feed(Chunk("a"))
    assert (live.text, live.is_live, live.finish_reason) == ("a", True, None)
    await live.feed(Chunk("b"))
    assert live.text == "ab"


async def test_the_producer_waits_for_a_slow_reader() -> None:
    """A live completion holds exactly LIVE_CAPACITY chunks, and lets more in when half of them are read."""
    live = Completion.live()
    producer = asyncio.create_task(feed_all(live, [Chunk("x")] * (2 * LIVE_CAPACITY) + [LAST]))
    await wait_all_tasks_blocked()
    assert len(live.text) == LIVE_CAPACITY
    reader = live.chunks()
    for read, fed in ((LIVE_CAPACITY // 2 - 1, LIVE_CAPACITY), (1, LIVE_CAPACITY * 3 // 2)):
        for _ in range(read):
            await anext(reader)
        await wait_all_tasks_blocked()
        assert len(live.text) == fed
    await reader.aclose()
    await producer


async def test_a_stream_without_finish_reason_has_failed() -> None:
    """It never looks whole, for whoever reads or waits."""
    live = Completion.live()
    await feed_all(live, [Chunk("half")])
    with pytest.raises(WorkerError, match="without a finish reason"):
        await texts(live)
    with pytest.raises(WorkerError, match="without a finish reason"):
        await live.whole()
    with pytest.raises(WorkerError, match="without a finish reason"):
        await live.wait_ended()


async def test_an_error_comes_after_the_chunks_before_it() -> None:
    """What was said before the stream broke is given out."""
    live = Completion.live()
    await live.feed(Chunk("half"))
    live.finish(WorkerError("unavailable", "gone"))
    reader = live.chunks()
    assert (await anext(reader)).text == "half"
    with pytest.raises(WorkerError, match="gone"):
        await anext(reader)
    assert str(live.error) == "gone"


async def test_the_first_end_counts() -> None:
    """A later one changes nothing."""
    live = Completion.live()
    await feed_all(live, [LAST])
    live.finish(StreamCut())
    assert live.error is None
    whole = Completion("a")
    whole.finish(RecordError("no"))
    assert whole.error is None


async def test_a_waiting_reader_wakes_at_the_end() -> None:
    """A reader without chunks learns that none will come."""
    live = Completion.live()
    reader = asyncio.create_task(texts(live))
    await wait_all_tasks_blocked()
    live.finish(StreamCut())
    with pytest.raises(StreamCut):
        await reader


async def test_a_reader_that_stops_early_frees_the_producer() -> None:
    """The producer goes on without waiting, and the text is gathered all the same."""
    live = Completion.live()
    producer = asyncio.create_task(feed_all(live, [Chunk("x")] * 1000 + [LAST]))
    reader = live.chunks()
    assert (await anext(reader)).text == "x"
    await reader.aclose()
    await producer
    assert live.text == "x" * 1000 + "!"


async def test_abandon_frees_a_producer_that_nobody_ever_read() -> None:
    """The producer's wait ends at once."""
    live = Completion.live()
    producer = asyncio.create_task(feed_all(live, [Chunk("x")] * 1000 + [LAST]))
    await wait_all_tasks_blocked()
    assert not producer.done()
    live.abandon()
    await producer
    await live.wait_ended()
    assert len(live.text) == 1001


async def test_who_comes_after_the_reader_gets_the_whole() -> None:
    """A completion that was read, or that nobody read, gives its text as one chunk when it has ended."""
    whole = Chunk("ab!", "stop", Usage(1, 2), "m")
    for left_early in (False, True):
        live = Completion.live()
        await live.feed(Chunk("a"))
        first = live.chunks()
        assert (await anext(first)).text == "a"
        if left_early:
            await first.aclose()
        late = asyncio.create_task(_all_chunks(live)) if left_early else None
        await feed_all(live, [Chunk("b"), LAST])
        if not left_early:
            assert [chunk.text async for chunk in first] == ["b", "!"]
        assert (await late if late else await _all_chunks(live)) == [whole]
        assert (await live.whole()).text == "ab!"


async def _all_chunks(completion: Completion) -> list[Chunk]:
    return [chunk async for chunk in completion.chunks()]


async def test_a_reader_of_an_abandoned_stream_is_told() -> None:
    """It would miss chunks: it gets an error, and never an end that looks good."""
    live = Completion.live()
    await live.feed(Chunk("a"))
    reader = asyncio.create_task(texts(live))
    await wait_all_tasks_blocked()
    assert live.is_read
    live.abandon()
    with pytest.raises(StreamCut):
        await reader


async def test_what_goes_no_further_is_abandoned_unless_it_is_read() -> None:
    """Of the completions of a record, those go on that its successor has, and those that have a reader."""
    kept, dropped, read = (Completion.live() for _ in range(3))
    reader = asyncio.create_task(texts(read))
    await wait_all_tasks_blocked()
    abandon_dropped([kept, dropped, read, "text"], ["text", kept])
    await asyncio.wait_for(feed_all(dropped, [Chunk("x")] * 1000 + [LAST]), 10)
    await feed_all(kept, [LAST])
    await feed_all(read, [LAST])
    assert await texts(kept) == ["!"]
    assert await reader == ["!"]
    assert (await _all_chunks(dropped))[0].text == "x" * 1000 + "!"


async def test_waiting_for_live_values_needs_no_reader() -> None:
    """Streams end on their own, the broken ones too."""
    good, bad = Completion.live(), Completion.live()
    waiting = asyncio.create_task(await_live([good, "text", bad, Completion("whole")]))
    await asyncio.wait_for(feed_all(good, [Chunk("x")] * 1000 + [LAST]), 10)
    assert not waiting.done()
    bad.finish(WorkerError("unavailable", "gone"))
    await waiting


async def test_there_is_one_reader_at_a_time() -> None:
    """A second one is told, and the first one loses nothing."""
    live = Completion.live()
    await live.feed(Chunk("a"))
    first = live.chunks()
    assert (await anext(first)).text == "a"
    with pytest.raises(RuntimeError, match="one reader"):
        await texts(live)
    await feed_all(live, [Chunk("b"), LAST])
    assert [chunk.text async for chunk in first] == ["b", "!"]


async def test_any_number_may_wait_for_the_end() -> None:
    """Waiting reads nothing."""
    live = Completion.live()
    waiters = [asyncio.create_task(live.wait_ended()) for _ in range(3)]
    await wait_all_tasks_blocked()
    await feed_all(live, [LAST])
    await asyncio.gather(*waiters)
    assert await texts(live) == ["!"]


async def test_with_text_changes_the_text_only() -> None:
    """What a step rewrites keeps reason, model and usage."""
    completion = Completion("a", "length", "m", Usage(1, 2)).with_text("b")
    assert completion.as_dict() == {
        "text": "b",
        "finish_reason": "length",
        "model": "m",
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }


def test_the_text_of_a_request() -> None:
    """It is the prompt, else the last user message, of which only text parts count."""
    parts = [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}]
    messages = [{"role": "user", "content": "old"}, {"role": "user", "content": parts}, {"role": "assistant"}]
    assert Request(prompt="p", messages=messages).text == "p"
    assert Request(messages=messages).text == "ab"
    assert Usage(1, 2).total_tokens == 3


async def test_a_producer_that_nobody_reads_lets_others_run() -> None:
    """Also one that has all of its chunks at hand: it can be stopped."""
    live = Completion.live()
    live.abandon()
    producer = asyncio.create_task(feed_all(live, [Chunk("x")] * 10 * LIVE_CAPACITY))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    producer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await producer
    assert len(live.text) < 3 * LIVE_CAPACITY
