"""ScriptedWorker says what it is told to, in the form in which it is asked."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from itertools import repeat

import pytest

from dagflow import Request, Usage, WorkerError
from dagflow.testing import Answer, ScriptedWorker


def infer(worker, *prompts):
    """Ask for whole answers, one after the other; errors are answers, too."""

    async def main():
        return [await one(prompt) for prompt in prompts]

    async def one(prompt):
        try:
            return (await worker.infer(Request(prompt=prompt))).text
        except Exception as error:
            return error

    return asyncio.run(main())


def test_answers_come_in_order_and_are_remembered():
    """Texts and answers may be mixed; what was asked is kept in order."""
    worker = ScriptedWorker(["one", Answer("two words")])
    assert infer(worker, "a", "b") == ["one", "two words"]
    assert [request.prompt for request in worker.requests] == ["a", "b"]


def test_a_listed_prompt_has_its_own_answer():
    """It takes nothing from the order, and never runs out."""
    worker = ScriptedWorker(["one"], {"b": "for b"})
    assert infer(worker, "b", "a", "b") == ["for b", "one", "for b"]


def test_errors_are_raised():
    """An exception stands for an answer that raises it."""
    down = WorkerError("unavailable", "down")
    assert infer(ScriptedWorker([down, "up"]), "a", "b") == [down, "up"]


def test_a_script_that_ran_out_refuses():
    """The message says which prompt was one too many; an endless script does not run out."""
    (error,) = infer(ScriptedWorker(), "once more")
    assert (error.kind, str(error)) == ("refused", "the script has no answer for `once more`")
    assert infer(ScriptedWorker(repeat("yes")), *"abc") == ["yes"] * 3


def test_a_completion_carries_what_the_answer_says():
    """Usage counts words unless it is given."""

    async def main():
        worker = ScriptedWorker(["one two", Answer("x", finish_reason="length", usage=Usage(7, 9))])
        return [await worker.infer(Request(prompt="a b c", model=model)) for model in (None, "large")]

    first, second = asyncio.run(main())
    assert (first.finish_reason, first.usage, first.model) == ("stop", Usage(3, 2), "scripted")
    assert (second.finish_reason, second.usage, second.model) == ("length", Usage(7, 9), "large")


def test_a_stream_can_be_cut():
    """The chunks before the cut are given out; asked for as a whole, the answer fails."""
    script = {"p": Answer("one two three", cut_after=2)}
    got = []

    async def read():
        async with aclosing(ScriptedWorker(by_prompt=script).stream(Request(prompt="p"))) as chunks:
            async for chunk in chunks:
                got.append(chunk.text)

    with pytest.raises(WorkerError, match="cut after 2 chunks"):
        asyncio.run(read())
    assert got == ["one", " two"]
    assert infer(ScriptedWorker(by_prompt=script), "p")[0].kind == "unavailable"


def test_delays_are_kept():
    """The first is before anything is said, the other between chunks."""
    slept = []

    async def main(monkeypatch):
        async def sleep(seconds):
            slept.append(seconds)

        monkeypatch.setattr("asyncio.sleep", sleep)
        worker = ScriptedWorker([Answer("a b c", delay_s=2.0, chunk_delay_s=0.5)])
        return [chunk async for chunk in worker.stream(Request(prompt="p"))]

    with pytest.MonkeyPatch.context() as patch:
        assert len(asyncio.run(main(patch))) == 3
    assert slept == [2.0, 0.5, 0.5]
