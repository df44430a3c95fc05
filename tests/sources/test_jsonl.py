"""Source `jsonl`: what becomes of each line, and which files are read."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from alone import Clock, build, complaints, opened

from dagflow.errors import PluginError, UnreadableRecord
from dagflow.record import Record, UnreadableInput
from dagflow.sinks.jsonl import Jsonl as JsonlSink
from dagflow.sources import lines as lines_module
from dagflow.sources.jsonl import Jsonl

pytestmark = pytest.mark.anyio

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
BATCH = {"custom_id": "q1", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": CHAT}}


async def read(folder: Path, *lines: object, **options: Any) -> list[Record]:
    """Write lines (bytes as they are, others as JSON) into a file, and read it."""
    content = b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    (folder / "in.jsonl").write_bytes(content)
    return await read_files(folder, path="in.jsonl", **options)


async def read_files(folder: Path, **options: Any) -> list[Record]:
    """Read what `path` means from the folder."""
    async with opened(build(Jsonl, folder, **options), name="in", clock=Clock()) as source:
        return [record async for record in source.records()]


async def test_a_line_is_a_record(tmp_path: Path) -> None:
    """Keys that are no fields go under `meta`; the id is the source and the line."""
    first, second = await read(tmp_path, {"input": "a", "tier": "gold", "n": None}, b"", b"  \r", {"input": ["b"]})
    assert (first.id, dict(first), first.meta) == ("in:1", {"input": "a"}, {"tier": "gold", "n": None})
    assert (second.id, dict(second), dict(second.meta)) == ("in:4", {"input": ["b"]}, {})
    assert (first.session, first.priority, first.deadline) == (None, 0, None)


async def test_the_line_s_own_attributes(tmp_path: Path) -> None:
    """They are the record's, and neither fields nor meta; a deadline counts from acceptance."""
    line = {"id": "x", "session": "s", "priority": -3, "deadline": "30s", "input": "a"}
    (record,) = await read(tmp_path, line)
    assert (record.id, record.session, record.priority, record.deadline) == ("x", "s", -3, 130.0)
    assert (dict(record), dict(record.meta)) == ({"input": "a"}, {})


@pytest.mark.parametrize(
    ("line", "id"),
    [
        ({"id": 17}, "17"),
        ({"custom_id": "c"}, "c"),
        ({"id": "i", "custom_id": "c"}, "i"),
        ({"id": None}, "in:1"),
        ({"id": ""}, ""),
    ],
)
async def test_ids(tmp_path: Path, line: dict[str, Any], id: str) -> None:
    """Numbers will do, and null means none."""
    (record,) = await read(tmp_path, {"input": "a", **line})
    assert record.id == id


async def test_meta_in_a_line_is_part_of_meta(tmp_path: Path) -> None:
    """So that `meta.tier` works in both forms."""
    first, second = await read(
        tmp_path, {"input": "a", "meta": {"tier": "gold", "x": 1}, "x": 2}, {"input": "a", "meta": "text"}
    )
    assert first.meta == {"tier": "gold", "x": 2}
    assert second.meta == {"meta": "text"}


async def test_fields_chooses_the_keys(tmp_path: Path) -> None:
    """In the order of the option."""
    (record,) = await read(tmp_path, {"b": 1, "a": 2, "c": 3}, fields=["a", "b"])
    assert (list(record.items()), record.meta) == ([("a", 2), ("b", 1)], {"c": 3})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON: Input data was truncated; an object must stand on one line"),
        (b"hello", "not JSON: "),
        (b'{"input": NaN}', "not JSON: "),
        (b'{"input": "a"} x', "not JSON: "),
        (b'{"input": "\xff"}', "not UTF-8"),
        (b'{"a":' * 100_000, "nested too deeply"),
        ([1], "expected an object on each line, but found `array`"),
        ("text", "expected an object on each line, but found `str`"),
        (None, "expected an object on each line, but found `null`"),
        ({"prompt": "a", "n": 1}, "field `input` is missing; the line has `prompt`, `n`"),
        ({}, "field `input` is missing; the line has no more"),
        ({"input": None}, "field `input` is missing; the line has no more"),
        (dict.fromkeys("abcdef", 1), "the line has `a`, `b`, `c`, `d`, `e`, ..."),
        ({"input": "a", "id": [1]}, "`id` should be a text or a whole number, but is `list`"),
        ({"input": "a", "id": True}, "`id` should be a text or a whole number, but is `bool`"),
        ({"input": "a", "session": 1.5}, "`session` should be a text or a whole number, but is `float`"),
        ({"input": "a", "priority": "high"}, "`priority` should be a whole number, but is `str`"),
        ({"input": "a", "priority": True}, "`priority` should be a whole number, but is `bool`"),
        ({"input": "a", "deadline": 30}, "`deadline` should be a duration with a unit, such as `30s`, but is `int`"),
        ({"input": "a", "deadline": "soon"}, "`deadline` is `soon`; expected a duration with a unit"),
    ],
)
async def test_unreadable_lines_fail_with_their_place(tmp_path: Path, line: object, reason: str) -> None:
    """The lines around them are read."""
    before, bad, after = await read(tmp_path, {"input": "a"}, line, {"input": "b"})
    assert [before["input"], after["input"], after.id] == ["a", "b", "in:3"]
    assert isinstance(bad, UnreadableInput)
    assert isinstance(bad.error, UnreadableRecord)
    assert str(bad.error).startswith("in.jsonl:2: ")
    assert reason in str(bad.error)
    assert bad.id == "in:2"
    raw = line if isinstance(line, bytes) else json.dumps(line).encode()
    assert bad["line"] == raw.decode(errors="replace")


async def test_an_unreadable_line_keeps_its_own_id(tmp_path: Path) -> None:
    """Whoever wrote it finds it again."""
    (bad,) = await read(tmp_path, {"id": "mine", "prompt": "a"})
    assert bad.id == "mine"


async def test_lines_that_are_too_long_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the limit they are read, whatever the size of blocks."""
    monkeypatch.setattr(lines_module, "BLOCK", 10)
    fits = json.dumps({"input": "x" * 17}).encode()
    assert len(fits) == 30
    first, bad, last = await read(tmp_path, fits, fits + b" ", fits, max_line="30B")
    assert (first["input"], last["input"], last.id) == ("x" * 17, "x" * 17, "in:3")
    assert str(bad.error) == "in.jsonl:2: longer than `max_line` (30B)"


async def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    """Neither are carriage returns."""
    (record,) = await read(tmp_path, b'\xef\xbb\xbf{"input": "a"}\r')
    assert record["input"] == "a"


async def test_the_last_line_needs_no_line_feed(tmp_path: Path) -> None:
    """And an empty file has no records."""
    (tmp_path / "in.jsonl").write_text('{"input": "a"}\n{"input": "b"}')
    assert [record["input"] for record in await read_files(tmp_path, path="in.jsonl")] == ["a", "b"]
    assert await read(tmp_path) == []


@pytest.mark.parametrize("format", ["auto", "openai-batch"])
async def test_batch_lines(tmp_path: Path, format: str) -> None:
    """The body gives messages, input and parameters; the model goes along in meta."""
    body = {"messages": CHAT, "model": "big", "temperature": 0.5}
    (record,) = await read(tmp_path, {**BATCH, "body": body}, format=format)
    assert record.id == "q1"
    assert dict(record) == {"messages": CHAT, "input": "Why?", "parameters": {"temperature": 0.5}}
    assert record.meta == {"method": "POST", "url": "/v1/chat/completions", "model": "big"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "`body` is missing"),
        ("text", "`body` should be an object, but is `str`"),
        ({}, "`body.messages` is missing"),
        ({"messages": "hi"}, "`body.messages` should be a list of messages, but is `str`"),
        ({"messages": [*CHAT, "hi"]}, "`body.messages[2]` should be an object with `role` and `content`"),
        ({"messages": [{"role": "user", "content": [1]}]}, "`body.messages[0]` should be an object"),
    ],
)
async def test_bad_batch_lines_fail(tmp_path: Path, body: object, reason: str) -> None:
    """A bad row never ends a batch."""
    good, bad, after = await read(tmp_path, BATCH, {**BATCH, "custom_id": "q2", "body": body}, BATCH)
    assert (good.id, bad.id, after.id) == ("q1", "q2", "q1")
    assert reason in str(bad.error)


async def test_auto_decides_for_each_file_at_its_first_object(tmp_path: Path) -> None:
    """Blank and unreadable lines before it do not count."""
    (tmp_path / "a.jsonl").write_text("\nbad\n" + json.dumps(BATCH))
    (tmp_path / "b.jsonl").write_text('{"input": "b"}\n' + json.dumps(BATCH))
    records = await read_files(tmp_path, path="*.jsonl")
    assert [sorted(record) for record in records] == [
        ["line"],
        ["input", "messages", "parameters"],
        ["input"],
        ["line"],
    ]
    assert "field `input` is missing" in str(records[3].error)


async def test_who_asks_for_other_fields_gets_plain_objects(tmp_path: Path) -> None:
    """Even from what looks like a batch."""
    (record,) = await read(tmp_path, BATCH, fields=["body"])
    assert dict(record) == {"body": {"messages": CHAT}}
    (record,) = await read(tmp_path, {**BATCH, "input": "a"}, format="records")
    assert dict(record) == {"input": "a"}


async def test_globs_are_read_in_sorted_order(tmp_path: Path) -> None:
    """Ids and places name the file, by as much of its path as is needed."""
    for name in ("b", "a", "deep/a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.jsonl").write_text(f'{{"input": "{name}"}}\nbad\n')
    (tmp_path / "folder.jsonl").mkdir()
    records = await read_files(tmp_path, path="**/*.jsonl")
    assert [record.id for record in records][::2] == ["in:a.jsonl:1", "in:b.jsonl:1", "in:deep/a.jsonl:1"]
    assert str(records[5].error).startswith("deep/a.jsonl:2: not JSON")


async def test_a_file_may_have_brackets_in_its_name(tmp_path: Path) -> None:
    """What exists is no glob."""
    (tmp_path / "in[1].jsonl").write_text('{"input": "a"}')
    assert [record.id for record in await read_files(tmp_path, path="in[1].jsonl")] == ["in:1"]


async def test_what_can_t_be_read_stops_the_start(tmp_path: Path) -> None:
    """With the path, and what was expected."""
    (tmp_path / "folder").mkdir()
    for path, message in [
        ("no.jsonl", "there is no file `.*/no.jsonl`$"),
        ("~/no.jsonl", r"there is no file `.*/~/no.jsonl`; `~` is no folder here, `\$\{env:HOME\}` is"),
        ("*.txt", r"no file matches `.*/\*.txt`"),
        ("folder", r"is a folder; expected a file, or a glob such as `.*/folder/\*.jsonl`"),
    ]:
        with pytest.raises(PluginError, match=message):
            await read_files(tmp_path, path=path)


async def test_the_standard_input_has_one_reader() -> None:
    """Two would take lines from each other; the next one may have it when the first is done."""
    for _ in range(2):
        async with opened(build(Jsonl, path="-"), name="a"):
            with pytest.raises(PluginError, match="standard input is being read by another source"):
                async with opened(build(Jsonl, path="-"), name="b"):
                    pass


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"{}", mtime=0), "is compressed with gzip"),
        ('{"input": "a"}'.encode("utf-16"), "is UTF-16; expected lines of UTF-8 text"),
    ],
)
async def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """Before anything runs, although it is not the first."""
    (tmp_path / "a.jsonl").write_text("{}")
    (tmp_path / "b.jsonl").write_bytes(content)
    with pytest.raises(PluginError, match=rf"`.*/b\.jsonl` {message}"):
        await read_files(tmp_path, path="*.jsonl")


async def test_a_file_that_a_sink_writes_is_refused(tmp_path: Path) -> None:
    """Otherwise a pipeline would read what it writes, or lose its input to its output."""
    async with opened(build(JsonlSink, tmp_path, path="a.jsonl")):
        with pytest.raises(PluginError, match="is being written by another node or another run"):
            await read_files(tmp_path, path="*.jsonl")


async def test_names_that_are_no_text(tmp_path: Path) -> None:
    """Ids are text, whatever bytes the name of a file holds."""
    for name in ("a\udcff.jsonl", "b.jsonl"):  # as Python writes the byte 255
        (tmp_path / name).write_text('{"input": 1}')
    first, second = await read_files(tmp_path, path="*.jsonl")
    assert (first.id, second.id) == ("in:a\ufffd.jsonl:1", "in:b.jsonl:1")


async def test_stdin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Places say so; its length can't be known, and is not that of a file called `-`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").write_text("x")
    stdin, write = os.pipe()
    monkeypatch.setattr(lines_module, "STDIN", stdin)
    os.write(write, b'{"input": "a"}\nbad\n')
    os.close(write)
    async with opened(build(Jsonl, Path("/somewhere"), path="-"), name="in") as source:
        first, second = [record async for record in source.records()]
        assert source.progress() is None
    os.close(stdin)
    assert (first.id, first["input"]) == ("in:1", "a")
    assert str(second.error).startswith("stdin:2: ")


async def test_progress_is_the_share_that_was_read(tmp_path: Path) -> None:
    """Over all files, in bytes."""
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text('{"input": "a"}\n{"input": "b"}\n')
    async with opened(build(Jsonl, tmp_path, path="*.jsonl")) as source:
        shares = [source.progress()]
        async for _ in source.records():
            shares.append(source.progress())
    assert shares == [0, 0.25, 0.5, 0.75, 1]


def test_fields() -> None:
    """What it writes depends on format and fields."""
    assert build(Jsonl, path="-").writes() == {"input"}
    assert build(Jsonl, path="-", fields=["a", "b"], format="records").writes() == {"a", "b"}
    assert build(Jsonl, path="-", format="openai-batch").writes() == {"messages", "input", "parameters"}
    assert build(Jsonl, path="-").reads() == set()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Field required"),
        ({"path": "-", "format": "csv"}, "'auto', 'records' or 'openai-batch'"),
        ({"path": "-", "fields": []}, "at least 1 item"),
        ({"path": "-", "fields": ["meta"]}, "`meta` always stands for the record's own"),
        ({"path": "-", "format": "openai-batch", "fields": ["a"]}, "batch lines have their own fields"),
        ({"path": "-", "max_line": 5}, "expected a size with a unit"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    """Each is refused when the file is validated."""
    ((_, text),) = complaints(Jsonl, **options)
    assert message in text
