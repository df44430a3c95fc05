"""Lines: put together from blocks, and read without blocking anybody."""

from __future__ import annotations

import asyncio
import gzip
import os
from pathlib import Path

import pytest
from anyio import wait_all_tasks_blocked
from hypothesis import given
from hypothesis import strategies as st

from dagflow.errors import PluginError
from dagflow.sources import lines as lines_module
from dagflow.sources.lines import LineSplitter, read_lines

pytestmark = pytest.mark.anyio


@given(st.binary(max_size=200), st.integers(1, 50), st.integers(1, 20))
def test_blocks_do_not_matter(content: bytes, block: int, max_line: int) -> None:
    """Lines are those of the whole content, wherever it was cut; only too long ones are None."""
    content = content.replace(b"\x00", b"\n")
    splitter = LineSplitter(max_line)
    found: list[bytes | None] = []
    for start in range(0, len(content), block):
        found += splitter.split(content[start : start + block])
    found += splitter.end()
    expected = content.removesuffix(b"\n").split(b"\n") if content else []
    assert found == [line if len(line) <= max_line else None for line in expected]


def test_a_line_without_end_takes_no_memory() -> None:
    """Beyond the limit nothing is kept."""
    splitter = LineSplitter(1000)
    for _ in range(100):
        assert splitter.split(b"x" * 500) == []
    assert sum(map(len, splitter._begun)) == 0
    assert splitter.split(b"x\nnext\n") == [None, b"next"]


async def read_all(path: Path, max_line: int = 100) -> list[bytes | None]:
    """Give all lines of a file."""
    return [line async for lines in read_lines(path, max_line) for line in lines]


async def test_files_larger_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines go over the borders of blocks."""
    monkeypatch.setattr(lines_module, "BLOCK", 7)
    expected = [f"line {number}".encode() for number in range(50)]
    (tmp_path / "a").write_bytes(b"\n".join(expected))
    assert await read_all(tmp_path / "a") == expected


async def test_the_file_is_closed_when_the_reader_stops(tmp_path: Path) -> None:
    """Also in the middle."""
    (tmp_path / "a").write_text("a\n" * 1_000_000)
    before = os.listdir("/dev/fd")
    reader = read_lines(tmp_path / "a", 100)
    await anext(reader)
    await reader.aclose()
    assert os.listdir("/dev/fd") == before


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> int:
    """Put a pipe in the place of the standard input; give the end that writes."""
    read, write = os.pipe()
    monkeypatch.setattr(lines_module, "STDIN", read)
    return write


async def test_stdin_is_read_as_it_comes(stdin: int) -> None:
    """A line is there as soon as it is written, though more may follow."""
    reader = read_lines(Path("-"), 100)
    os.write(stdin, b"one\ntw")
    assert await anext(reader) == [b"one"]
    waiting = asyncio.create_task(anext(reader))
    await wait_all_tasks_blocked()
    assert not waiting.done()
    os.write(stdin, b"o\n")
    assert await waiting == [b"two"]
    os.write(stdin, b"three")
    os.close(stdin)
    assert [lines async for lines in reader] == [[], [b"three"]]
    os.close(lines_module.STDIN)


async def test_waiting_for_stdin_can_be_cancelled(stdin: int) -> None:
    """Nothing hangs, no thread stays behind, and the pipe stays open and blocking as it was."""
    waiting = asyncio.create_task(anext(read_lines(Path("-"), 100)))
    await wait_all_tasks_blocked()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert os.get_blocking(lines_module.STDIN)
    os.close(lines_module.STDIN)
    os.close(stdin)


async def test_a_pipe_that_others_made_non_blocking(stdin: int) -> None:
    """Being woken for nothing is no error."""
    os.set_blocking(lines_module.STDIN, False)
    reader = read_lines(Path("-"), 100)
    os.write(stdin, b"one\n")
    assert await anext(reader) == [b"one"]
    os.close(stdin)
    assert [line async for lines in reader for line in lines] == []
    assert not os.get_blocking(lines_module.STDIN)
    os.close(lines_module.STDIN)


async def test_an_input_that_is_no_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """`< /dev/null` ends at once."""
    null = os.open(os.devnull, os.O_RDONLY)
    monkeypatch.setattr(lines_module, "STDIN", null)
    assert await read_all(Path("-")) == []
    os.close(null)


async def test_waiting_for_the_writer_of_a_named_pipe_can_be_cancelled(tmp_path: Path) -> None:
    """Its thread is left behind."""
    os.mkfifo(tmp_path / "pipe")
    waiting = asyncio.create_task(anext(read_lines(tmp_path / "pipe", 100)))
    await wait_all_tasks_blocked()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    os.close(os.open(tmp_path / "pipe", os.O_WRONLY))  # lets the thread go


async def test_a_file_that_has_gone_is_told_by_its_name(tmp_path: Path) -> None:
    """So is one that cannot be read any more."""
    with pytest.raises(PluginError, match=r"`.*/gone` can't be read: No such file or directory"):
        await read_all(tmp_path / "gone")


async def test_a_compressed_stream_is_no_text(stdin: int) -> None:
    """Its first block gives it away; without that, each of its lines would fail."""
    os.write(stdin, gzip.compress(b"one\n"))
    with pytest.raises(PluginError, match="`stdin` is compressed with gzip; expected lines of UTF-8 text"):
        await read_all(Path("-"))
    os.close(stdin)
    os.close(lines_module.STDIN)
