"""Worker `echo`: what it answers, how slowly, and how it fails."""

from __future__ import annotations

from typing import Any

import pytest
from alone import Clock, build, complaints, opened

from dagflow.completion import Completion
from dagflow.errors import WorkerError
from dagflow.exchange import Chunk, Request, Usage
from dagflow.workers import echo as echo_module
from dagflow.workers.echo import Echo

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Let the worker sleep without time passing."""
    clock = Clock()
    monkeypatch.setattr(echo_module, "sleep", clock.sleep)
    return clock


async def infer(request: Request, **options: Any) -> Completion:
    """Give a whole answer."""
    async with opened(build(Echo, **options), name="main") as worker:
        return await worker.infer(request)


async def stream(request: Request, **options: Any) -> list[Chunk]:
    """Give all chunks of an answer."""
    async with opened(build(Echo, **options), name="main") as worker:
        return [chunk async for chunk in worker.stream(request)]


@pytest.mark.parametrize("text", ["hello", "two words", " \n a  b\n\nc ", "", "  "])
async def test_the_answer_is_the_prompt(text: str) -> None:
    """Whole or in chunks of one word it is the same, to the last white space."""
    whole = await infer(Request(prompt=text))
    chunks = await stream(Request(prompt=text))
    assert whole.text == "".join(chunk.text for chunk in chunks) == text
    assert whole.usage == Usage(len(text.split()), len(text.split()))
    assert (whole.finish_reason, whole.model) == ("stop", "echo")
    assert chunks[-1].finish_reason == "stop"
    assert chunks[-1].usage == whole.usage
    assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


async def test_of_a_chat_it_is_the_last_user_message() -> None:
    """All messages count as input."""
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "one two"}]
    completion = await infer(Request(messages=messages))
    assert (completion.text, completion.usage) == ("one two", Usage(4, 2))


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_max_tokens_cuts_the_answer(name: str) -> None:
    """A token is a word; at the limit exactly nothing was cut."""
    completion = await infer(Request(prompt="a b c", parameters={name: 2}))
    assert (completion.text, completion.finish_reason, completion.usage) == ("a b", "length", Usage(3, 2))
    completion = await infer(Request(prompt="a b c ", parameters={name: 3}))
    assert (completion.text, completion.finish_reason, completion.usage) == ("a b c ", "stop", Usage(3, 3))
    assert (await infer(Request(prompt="a b", parameters={name: None}))).text == "a b"


@pytest.mark.parametrize("limit", [0, -1, "5", 1.5, True])
async def test_a_limit_that_is_none_is_refused(limit: object) -> None:
    """As real servers do."""
    with pytest.raises(WorkerError, match="`max_tokens` should be a whole number above 0") as caught:
        await infer(Request(prompt="a", parameters={"max_tokens": limit}))
    assert caught.value.kind == "refused"


async def test_it_answers_as_the_model_that_was_asked_for() -> None:
    """In every chunk."""
    assert {chunk.model for chunk in await stream(Request(prompt="a b", model="big"))} == {"big"}


async def test_delays(clock: Clock) -> None:
    """A whole answer takes as long as its stream."""
    await stream(Request(prompt="a b c"), delay="1s", chunk_delay="100ms")
    assert clock.slept == pytest.approx([1, 0.1, 0.1])
    clock.slept.clear()
    await infer(Request(prompt="a b c"), delay="1s", chunk_delay="100ms")
    assert clock.slept == pytest.approx([1, 0.2])


async def test_without_delay_it_does_not_wait(clock: Clock) -> None:
    """Benchmarks measure the engine, not the loop's timers."""
    await infer(Request(prompt="a b c"))
    await stream(Request(prompt="a b c"))
    assert clock.slept == []


async def test_delays_are_drawn_from_the_seed(clock: Clock) -> None:
    """The same ones each time."""

    async def drawn(seed: int) -> list[float]:
        clock.slept.clear()
        await stream(Request(prompt="a b c"), delay="lognormal(20ms, 0.5)", chunk_delay="uniform(1ms, 9ms)", seed=seed)
        return list(clock.slept)

    first = await drawn(1)
    assert len(set(first)) == 3
    assert await drawn(1) == first
    assert await drawn(2) != first


async def test_errors_come_at_their_rate(clock: Clock) -> None:
    """After the delay, before the first chunk, and the same ones for the same seed."""

    async def failed() -> list[bool]:
        outcomes = []
        async with opened(build(Echo, error_rate=0.3, error="overloaded", delay="1s", seed=5), name="main") as worker:
            for number in range(300):
                request = Request(prompt="a")
                try:
                    await (worker.infer(request) if number % 2 else anext(worker.stream(request)))
                    outcomes.append(False)
                except WorkerError:
                    outcomes.append(True)
        return outcomes

    first = await failed()
    assert 60 < sum(first) < 120
    assert clock.slept == [1.0] * 300
    assert await failed() == first


async def test_errors_are_of_the_kind_that_was_asked_for() -> None:
    """And say that they are no accident."""
    with pytest.raises(WorkerError, match="worker `main` fails on purpose") as caught:
        await infer(Request(prompt="a"), error_rate=1.0, error="overloaded")
    assert (caught.value.kind, caught.value.retryable) == ("overloaded", True)


async def test_it_makes_no_embeddings() -> None:
    """Random vectors would look like some."""
    async with opened(build(Echo), name="main") as worker:
        with pytest.raises(WorkerError, match="it makes no embeddings"):
            await worker.embed(["a"])


def test_bad_options() -> None:
    """Each is refused when the file is validated."""
    assert complaints(Echo, delay="5")[0][1].startswith("expected a delay")
    assert complaints(Echo, error_rate=2) == [("error_rate", "Input should be less than or equal to 1")]
    assert complaints(Echo, error="bug")[0][0] == "error"
