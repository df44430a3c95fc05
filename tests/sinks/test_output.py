"""Outputs: whole lines into files and pipes, however slow the reader is."""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from anyio import wait_all_tasks_blocked, wait_readable
from disks import small_files

from dagflow.errors import WriteFailed
from dagflow.sinks.output import PIECE, FileOutput, StreamOutput, TextOutput, build_output

pytestmark = pytest.mark.anyio

Pipe = tuple[int, StreamOutput]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe that holds two pieces: the end that reads, and the output into the other end."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 2 * PIECE)
    output = build_output(write, "pipe", owned=True)
    yield read, output
    output.close()
    os.close(read)


async def put(output: StreamOutput, line: bytes) -> None:
    """Write as sinks do."""
    waiting = output.write(line)
    if waiting is not None:
        await waiting


def fill(output: StreamOutput) -> None:
    """Leave no room in the pipe."""
    assert [output.write(b"x" * PIECE) for _ in range(2)] == [None, None]


async def take(read: int, size: int) -> bytes:
    """Read so many bytes, as they come."""
    content = b""
    while len(content) < size:
        await wait_readable(read)
        content += os.read(read, size - len(content))
    return content


async def test_a_pipe_with_room_takes_a_line_at_once(pipe: Pipe) -> None:
    """There is nothing to await."""
    read, output = pipe
    assert isinstance(output, StreamOutput)
    assert output.write(b"one\n") is None
    assert output.write(b"two\n") is None
    assert os.read(read, 100) == b"one\ntwo\n"
    assert output.position() is None


async def test_a_full_pipe_makes_its_writer_wait_and_nobody_else(pipe: Pipe) -> None:
    """The event loop goes on meanwhile; the line comes when there is room."""
    read, output = pipe
    fill(output)
    writer = asyncio.create_task(put(output, b"next\n"))
    await wait_all_tasks_blocked()
    assert not writer.done()
    os.read(read, 2 * PIECE)
    await writer
    assert os.read(read, 100) == b"next\n"


async def test_lines_larger_than_the_pipe_are_written_whole_and_in_turn(pipe: Pipe) -> None:
    """Several writers never mix."""
    read, output = pipe
    lines = [bytes([65 + number]) * (3 * PIECE) + b"\n" for number in range(4)]
    writers = [asyncio.create_task(put(output, line)) for line in lines]
    assert await take(read, sum(map(len, lines))) == b"".join(lines)
    await asyncio.gather(*writers)


async def test_a_line_that_was_cancelled_before_it_began_leaves_nothing(pipe: Pipe) -> None:
    """It was not delivered."""
    read, output = pipe
    fill(output)
    writer = asyncio.create_task(put(output, b"gone\n"))
    await wait_all_tasks_blocked()
    writer.cancel()
    await asyncio.wait([writer])
    os.read(read, 2 * PIECE)
    await put(output, b"next\n")
    assert os.read(read, 100) == b"next\n"


async def test_a_line_that_was_cancelled_in_its_middle_is_completed(pipe: Pipe) -> None:
    """The next line begins at a beginning."""
    read, output = pipe
    long = b"x" * (3 * PIECE) + b"\n"
    writer = asyncio.create_task(put(output, long))
    await wait_all_tasks_blocked()
    writer.cancel()
    await asyncio.wait([writer])
    following = asyncio.create_task(put(output, b"next\n"))
    assert await take(read, len(long) + 5) == long + b"next\n"
    await following


async def test_a_pipe_that_others_made_non_blocking(pipe: Pipe) -> None:
    """Writes that only go in part are completed."""
    read, output = pipe
    os.set_blocking(output._fd, False)
    lines = [bytes([65 + number]) * 3000 + b"\n" for number in range(6)]
    writer = asyncio.create_task(write_all(output, lines))
    assert await take(read, sum(map(len, lines))) == b"".join(lines)
    await writer


async def write_all(output: StreamOutput, lines: list[bytes]) -> None:
    """Write lines one after the other."""
    for line in lines:
        await put(output, line)


async def test_a_reader_that_has_gone_is_an_error() -> None:
    """Whether a line would fit or not."""
    read, write = os.pipe()
    os.close(read)
    with closing(build_output(write, "stdout", owned=True)) as output:
        for line in (b"one\n", b"x" * 2 * PIECE):
            with pytest.raises(WriteFailed, match="`stdout` could not be written: whoever read it has closed it"):
                await put(output, line)


async def test_a_reader_that_goes_while_somebody_waits_is_an_error() -> None:
    """The wait ends."""
    read, write = os.pipe()
    with closing(build_output(write, "pipe", owned=True)) as output:
        writer = asyncio.create_task(put(output, b"x" * 1_000_000))
        await wait_all_tasks_blocked()
        os.close(read)
        with pytest.raises(WriteFailed):
            await writer


async def test_a_borrowed_descriptor_stays_open_and_blocking() -> None:
    """It is others', too; uvloop makes it non-blocking when it waits."""
    read, write = os.pipe()
    output = build_output(write, "stdout", owned=False)
    os.set_blocking(write, False)
    output.close()
    assert os.get_blocking(write)
    os.close(write)
    os.close(read)


async def test_devices_take_lines_of_any_length() -> None:
    """Not all of them can be waited for."""
    with closing(build_output(os.open(os.devnull, os.O_WRONLY), "null", owned=True)) as output:
        await put(output, b"x" * 10 * PIECE)
    full = build_output(os.open("/dev/full", os.O_WRONLY), "/dev/full", owned=True)
    with closing(full), pytest.raises(WriteFailed, match="`/dev/full` could not be written: No space left on device"):
        await put(full, b"x\n")


async def test_a_line_that_does_not_fit_on_the_disk_is_taken_back(tmp_path: Path) -> None:
    """The file holds whole lines only, and shorter ones may still follow."""
    path = tmp_path / "out"
    output = build_output(os.open(path, os.O_WRONLY | os.O_CREAT), str(path), owned=True)
    with closing(output), small_files():
        assert isinstance(output, FileOutput)
        output.write(b"a" * 899 + b"\n")
        with pytest.raises(WriteFailed, match="File too large"):
            output.write(b"b" * 200 + b"\n")
        output.write(b"c" * 49 + b"\n")
        assert output.position() == {"offset": 950}
    assert path.read_bytes() == b"a" * 899 + b"\n" + b"c" * 49 + b"\n"


async def test_a_text_file_without_descriptor() -> None:
    """As a notebook has for its standard output."""
    file = io.StringIO()
    output = TextOutput(file)
    assert output.write("é\n".encode()) is None
    output.close()
    assert file.getvalue() == "é\n"
