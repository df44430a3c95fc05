"""`format = "stream"`: chunks on the standard output and in lines, as they come."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alone import build, opened
from anyio import wait_all_tasks_blocked

from dagflow.completion import Completion
from dagflow.errors import InvalidField, RecordError, StreamCut, WorkerError
from dagflow.exchange import Chunk, Usage
from dagflow.live_stream import LIVE_CAPACITY
from dagflow.record import Record
from dagflow.sinks.jsonl import Jsonl
from dagflow.sinks.output import PIECE
from dagflow.sinks.stdout import Stdout

pytestmark = pytest.mark.anyio

Printed = Callable[[], str]


@pytest.fixture
def stdout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Printed]]:
    """Give what makes the standard output a file, within a test as pytest sets its own before, and gives its reader."""
    path = tmp_path / "stdout"
    with path.open("w") as file:

        def use() -> Printed:
            monkeypatch.setattr(sys, "stdout", file)
            return path.read_text

        yield use


def live(id: str = "0") -> tuple[Record, Completion]:
    """A record with a live completion."""
    completion = Completion.live()
    return Record({"completion": completion}, id), completion


async def writing(sink: Any, record: Record) -> asyncio.Task[None]:
    """Begin to write, until it waits."""
    task = asyncio.create_task(sink.write(record))
    await wait_all_tasks_blocked()
    return task


async def feed(completion: Completion, *chunks: Chunk) -> None:
    """Feed chunks, and let them be written."""
    for chunk in chunks:
        await completion.feed(chunk)
    await wait_all_tasks_blocked()


def lines(folder: Path) -> list[Any]:
    """What the file holds."""
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


async def test_stdout_shows_each_chunk_as_it_comes(stdout: Callable[[], Printed]) -> None:
    """The line ends with the record; a text may have lines of its own."""
    printed = stdout()
    async with opened(build(Stdout, format="stream")) as sink:
        record, completion = live()
        task = await writing(sink, record)
        await feed(completion, Chunk("One\n"))
        assert printed() == "One\n"
        await feed(completion, Chunk("twö"), Chunk("", "stop"))
        assert (printed(), task.done()) == ("One\ntwö", False)
        completion.finish()
        await task
        await sink.write(Record({"completion": Completion("whole")}))
        assert printed() == "One\ntwö\nwhole\n"


async def test_records_take_turns_on_stdout(stdout: Callable[[], Printed]) -> None:
    """One that came later waits, though its chunks are there."""
    printed = stdout()
    async with opened(build(Stdout, format="stream")) as sink:
        (first, one), (second, two) = live("1"), live("2")
        tasks = [await writing(sink, first), await writing(sink, second)]
        await feed(two, Chunk("two", "stop"))
        two.finish()
        await feed(one, Chunk("on"), Chunk("e", "stop"))
        assert printed() == "one"
        one.finish()
        await asyncio.gather(*tasks)
        assert printed() == "one\ntwo\n"


async def test_a_record_that_was_cut_off_ends_its_line(stdout: Callable[[], Printed]) -> None:
    """By an error at once, by a cancellation before the next one, or before the run ends."""
    printed = stdout()
    async with opened(build(Stdout, format="stream")) as sink:
        record, completion = live()
        task = await writing(sink, record)
        await feed(completion, Chunk("bro"))
        completion.finish(WorkerError("unavailable", "cut"))
        with pytest.raises(WorkerError):
            await task
        assert printed() == "bro\n"
        for _ in range(2):
            record, completion = live()
            task = await writing(sink, record)
            await feed(completion, Chunk("half"))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await sink.flush()
        assert printed() == "bro\nhalf\nhalf\n"


async def test_a_slow_reader_of_stdout_holds_the_producer_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is what the pipe holds, one piece, and the live completion's own chunks."""
    read, write = os.pipe()
    with open(write, "w") as pipe:  # noqa: ASYNC230 (it is open already)
        monkeypatch.setattr(sys, "stdout", pipe)
        async with opened(build(Stdout, format="stream")) as sink:
            record, completion = live()
            fed = 0

            async def produce() -> None:
                nonlocal fed
                for fed in range(1, 200):  # noqa: B007 (counted)
                    await completion.feed(Chunk("x" * PIECE))
                await completion.feed(Chunk("", "stop"))
                completion.finish()

            producing = asyncio.create_task(produce())
            task = await writing(sink, record)
            held = fed
            assert LIVE_CAPACITY < held < 199
            taken = 0
            while not task.done():
                taken += len(await asyncio.to_thread(os.read, read, 2**20))
            await producing
    taken += len(os.read(read, 2**20))
    os.close(read)
    assert taken == 199 * PIECE + 1


async def test_jsonl_has_a_line_for_each_chunk_and_one_for_the_end(tmp_path: Path) -> None:
    """Each is in the file as soon as it came; empty chunks have none."""
    async with opened(build(Jsonl, tmp_path, path="out.jsonl", format="stream")) as sink:
        record, completion = live("a")
        task = await writing(sink, record)
        await feed(completion, Chunk("", model="m"), Chunk("One", reasoning="hm"))
        assert lines(tmp_path) == [{"id": "a", "text": "One", "reasoning": "hm"}]
        await feed(completion, Chunk(" two", "stop", Usage(1, 2, 3)))
        completion.finish()
        await task
        usage = {"input_tokens": 1, "output_tokens": 2, "cached_tokens": 3}
        assert lines(tmp_path)[1:] == [
            {"id": "a", "text": " two"},
            {"id": "a", "finish_reason": "stop", "model": "m", "usage": usage},
        ]


async def test_jsonl_shows_a_whole_completion_as_one_chunk(tmp_path: Path) -> None:
    """Tool calls stand in the last line."""
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    async with opened(build(Jsonl, tmp_path, path="out.jsonl", format="stream")) as sink:
        await sink.write(Record({"completion": Completion("One", "tool_calls", tool_calls=calls)}, "a"))
    end = {"id": "a", "finish_reason": "tool_calls", "model": None, "usage": None, "tool_calls": calls}
    assert lines(tmp_path) == [{"id": "a", "text": "One"}, end]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, "worker-protocol"),
        (WorkerError("unavailable", "sk-1"), "worker-unavailable"),
        (StreamCut(), StreamCut.code),
    ],
)
async def test_jsonl_says_that_a_stream_broke(tmp_path: Path, error: RecordError | None, code: str) -> None:
    """In its last line, and to the engine. The message, which may hold a secret, is not in it."""
    async with opened(build(Jsonl, tmp_path, path="out.jsonl", format="stream")) as sink:
        record, completion = live("a")
        task = await writing(sink, record)
        await feed(completion, Chunk("One"))
        completion.finish(error)
        with pytest.raises(RecordError):
            await task
    assert lines(tmp_path) == [{"id": "a", "text": "One"}, {"id": "a", "error": {"code": code}}]


async def test_jsonl_says_that_a_record_was_cancelled(tmp_path: Path) -> None:
    """Its text is not all of it."""
    async with opened(build(Jsonl, tmp_path, path="out.jsonl", format="stream")) as sink:
        record, completion = live("a")
        task = await writing(sink, record)
        await feed(completion, Chunk("One"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert lines(tmp_path)[-1] == {"id": "a", "error": {"code": "cancelled"}}


@pytest.mark.parametrize("cls", [Stdout, Jsonl])
@pytest.mark.parametrize("value", [None, "text", Completion("\ud800")])
async def test_what_cannot_be_streamed_fails_its_record(
    tmp_path: Path, stdout: Callable[[], Printed], cls: Any, value: Any
) -> None:
    """No completion, or none that UTF-8 can hold."""
    options = {"path": "out.jsonl"} if cls is Jsonl else {}
    async with opened(build(cls, tmp_path, format="stream", **options)) as sink:
        assert sink.reads() == {"completion"}
        with pytest.raises(InvalidField):
            await sink.write(Record({"completion": value}))
