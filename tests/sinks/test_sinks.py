"""The sinks themselves: `jsonl`, `stdout`, `null` and `reply`."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from alone import build, complaints, context, opened
from anyio import create_task_group, wait_all_tasks_blocked

from dagflow.completion import Completion
from dagflow.errors import InvalidField, PluginError, StreamCut
from dagflow.exchange import Chunk
from dagflow.live_stream import LIVE_CAPACITY
from dagflow.record import Record, Ticket
from dagflow.sinks.jsonl import Jsonl
from dagflow.sinks.null import Null
from dagflow.sinks.reply import Reply
from dagflow.sinks.stdout import Stdout

pytestmark = pytest.mark.anyio


async def write(folder: Path, *records: Record, **options: Any) -> Any:
    """Write records into `out.jsonl`, and give the sink's position."""
    async with opened(build(Jsonl, folder, path="out.jsonl", **options)) as sink:
        for record in records:
            assert await sink.write(record) is None
        await sink.flush()
        return sink.position()


async def test_jsonl_writes_whole_lines_and_knows_its_position(tmp_path: Path) -> None:
    """A line is in the file when `write` returns."""
    async with opened(build(Jsonl, tmp_path, path="out.jsonl")) as sink:
        await sink.write(Record({"a": 1}, "x"))
        assert content(tmp_path) == b'{"id":"x","a":1}\n'
        await sink.write(Record({"a": 2}, "y"))
        assert sink.position() == {"offset": 34}
    assert content(tmp_path) == b'{"id":"x","a":1}\n{"id":"y","a":2}\n'


def content(folder: Path) -> bytes:
    """What the output holds."""
    return (folder / "out.jsonl").read_bytes()


async def test_jsonl_replaces_or_appends(tmp_path: Path) -> None:
    """Replacing is the default; the position counts what was there before."""
    await write(tmp_path, Record({"a": 1}), fields=["a"])
    assert await write(tmp_path, Record({"a": 2}), fields=["a"], mode="append") == {"offset": 16}
    assert content(tmp_path) == b'{"a":1}\n{"a":2}\n'
    assert await write(tmp_path, mode="append") == {"offset": 16}
    assert await write(tmp_path, Record({"a": 3}), fields=["a"]) == {"offset": 8}
    assert content(tmp_path) == b'{"a":3}\n'


async def test_jsonl_ends_a_torn_line_before_it_appends(tmp_path: Path) -> None:
    """The torn one stays, and the next one is whole."""
    (tmp_path / "out.jsonl").write_bytes(b'{"a":1}\n{"a":')
    await write(tmp_path, Record({"a": 2}), fields=["a"], mode="append")
    assert content(tmp_path) == b'{"a":1}\n{"a":\n{"a":2}\n'


@pytest.mark.parametrize("mode", ["replace", "append"])
async def test_jsonl_changes_nothing_before_its_first_line(tmp_path: Path, mode: str) -> None:
    """A run that does not start leaves what an earlier one has written."""
    (tmp_path / "out.jsonl").write_bytes(b"torn")
    async with opened(build(Jsonl, tmp_path, path="out.jsonl", mode=mode)):
        pass
    assert content(tmp_path) == b"torn"


async def test_jsonl_without_records_leaves_an_empty_file(tmp_path: Path) -> None:
    """A run that has ended replaces, whatever came."""
    (tmp_path / "out.jsonl").write_bytes(b"old")
    assert await write(tmp_path) == {"offset": 0}
    assert content(tmp_path) == b""


@pytest.mark.parametrize("mode", ["replace", "append"])
async def test_jsonl_has_its_file_for_itself(tmp_path: Path, mode: str) -> None:
    """Two sinks would write into each other's lines."""
    async with opened(build(Jsonl, tmp_path, path="out.jsonl")):
        with pytest.raises(PluginError, match="is being written by another node or another run"):
            async with opened(build(Jsonl, tmp_path, path="out.jsonl", mode=mode)):
                pass
    assert await write(tmp_path) == {"offset": 0}


async def test_jsonl_that_waits_for_the_reader_of_a_pipe_can_be_stopped(tmp_path: Path) -> None:
    """Its thread is left behind."""
    os.mkfifo(tmp_path / "out.jsonl")
    async with create_task_group() as tasks:
        tasks.start_soon(build(Jsonl, tmp_path, path="out.jsonl").open, context())
        await wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    os.close(os.open(tmp_path / "out.jsonl", os.O_RDONLY))  # lets the thread go


async def test_jsonl_writes_nothing_of_a_record_that_fails(tmp_path: Path) -> None:
    """The others are written."""
    async with opened(build(Jsonl, tmp_path, path="out.jsonl")) as sink:
        with pytest.raises(InvalidField):
            await sink.write(Record({"a": object()}))
        await sink.write(Record({"a": 2}, "y"))
    assert content(tmp_path) == b'{"id":"y","a":2}\n'


async def test_jsonl_says_why_it_can_t_be_opened(tmp_path: Path) -> None:
    """Before anything runs."""
    for path, message in [
        ("missing/out.jsonl", r"cannot write `.*/missing/out\.jsonl`: there is no folder `.*/missing`"),
        (".", "Is a directory"),
    ]:
        with pytest.raises(PluginError, match=message):
            async with opened(build(Jsonl, tmp_path, path=path)):
                pass


async def test_stdout_prints_lines(capfd: pytest.CaptureFixture[str]) -> None:
    """After what was printed before, and leaves the descriptor open."""
    print("before", end=" ")
    async with opened(build(Stdout, template="{{ text }}")) as sink:
        await sink.write(Record({"text": "hello"}))
        await sink.flush()
        assert sink.position() is None
    print("after")
    assert capfd.readouterr().out == "before hello\nafter\n"


async def test_stdout_prints_json_by_default(capfd: pytest.CaptureFixture[str]) -> None:
    """With the id and all fields."""
    async with opened(build(Stdout)) as sink:
        await sink.write(Record({"text": "hello"}, "a:1"))
    assert json.loads(capfd.readouterr().out) == {"id": "a:1", "text": "hello"}


async def test_stdout_goes_where_a_notebook_has_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no descriptor then."""
    file = io.StringIO()
    monkeypatch.setattr(sys, "stdout", file)
    async with opened(build(Stdout, fields=["id"])) as sink:
        await sink.write(Record(id="a:1"))
    assert file.getvalue() == '{"id":"a:1"}\n'


async def test_null_takes_everything() -> None:
    """And keeps nothing."""
    async with opened(build(Null)) as sink:
        assert await sink.write(Record({"a": object()})) is None
    assert sink.reads() == set()


class Owner:
    """Owns tickets and does nothing."""

    def on_settled(self, *_: object) -> None: ...
    def on_split(self, *_: object) -> None: ...
    def on_cancel(self, *_: object) -> None: ...
    def on_answer(self, *_: object) -> None: ...


def replying(completion: object) -> Record:
    """Build an accepted record with a completion."""
    record = Record({"completion": completion})
    record.ticket = Ticket(record, Owner())
    return record


async def test_reply_hands_the_record_back() -> None:
    """A whole answer is delivered at once; the first one wins."""
    async with opened(build(Reply)) as sink:
        first = replying(Completion("hello"))
        second = first.copy()
        await sink.write(first)
        await sink.write(second)
    assert first.ticket.answer is first


async def test_reply_waits_for_the_end_of_a_live_answer() -> None:
    """Without reading it: that is the caller's."""
    live = Completion.live()
    record = replying(live)
    async with opened(build(Reply)) as sink:
        writing = asyncio.create_task(sink.write(record))
        await wait_all_tasks_blocked()
        assert record.ticket.answer is record
        assert not writing.done()
        await live.feed(Chunk("a"))
        await live.feed(Chunk("b", "stop"))
        live.finish()
        await writing
    assert [chunk.text async for chunk in live.chunks()] == ["a", "b"]


async def test_reply_fails_when_the_stream_breaks() -> None:
    """The record was not delivered."""
    live = Completion.live()
    async with opened(build(Reply)) as sink:
        writing = asyncio.create_task(sink.write(replying(live)))
        await wait_all_tasks_blocked()
        live.finish(StreamCut())
        with pytest.raises(StreamCut):
            await writing


async def test_a_second_live_answer_has_no_reader_and_holds_nobody_up() -> None:
    """Its producer runs through."""
    live = Completion.live()
    record = replying(live)
    record.ticket.reply(Record({"completion": Completion("another")}))
    async with opened(build(Reply)) as sink:
        writing = asyncio.create_task(sink.write(record))
        await wait_all_tasks_blocked()
        for _ in range(3 * LIVE_CAPACITY):
            await live.feed(Chunk("x"))
        await live.feed(Chunk("", "stop"))
        live.finish()
        await writing


def test_which_sinks_forward_live_completions() -> None:
    """The others want the whole text, unless their options say otherwise."""
    assert Reply.forwards_live
    assert not Null.forwards_live
    for cls, options in ((Jsonl, {"path": "a"}), (Stdout, {})):
        assert [build(cls, format=f, **options).forwards_live for f in ("records", "stream")] == [False, True]


def test_bad_options() -> None:
    """Each is refused when the file is validated."""
    assert complaints(Jsonl) == [("path", "Field required")]
    assert complaints(Jsonl, path="-") == [("path", 'it is no file; a sink with `type = "stdout"` prints')]
    assert complaints(Jsonl, path="a", mode="update") == [("mode", "Input should be 'replace' or 'append'")]
    assert complaints(Stdout, path="a") == [("path", "Extra inputs are not permitted")]
    assert complaints(Null, path="a") == [("path", "Extra inputs are not permitted")]


def test_descriptors_are_closed(tmp_path: Path) -> None:
    """Also when nothing was written."""
    before = len(os.listdir("/dev/fd"))
    asyncio.run(write(tmp_path))
    assert len(os.listdir("/dev/fd")) == before
