"""The proxy that cuts: what passes, what is held back, what is lost."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
from peers.cut import Cut
from service import until

# Sockets of connections that were cut are left to the garbage collector.
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]


@asynccontextmanager
async def echoing():
    """Serve what answers each line with itself, behind a cut; give the cut and all lines that came."""
    came: list[bytes] = []

    async def answer(reader, writer):
        try:
            with suppress(ConnectionResetError):
                while line := await reader.readline():
                    came.append(line)
                    writer.write(line)
        finally:  # also where the event loop ends before the client has left
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        with Cut(server.sockets[0].getsockname()[1]) as cut:
            yield cut, came


async def test_a_stalled_network_holds_back():
    """What is sent over a stalled network comes when it heals, in its order."""
    async with echoing() as (cut, came):
        reader, writer = await asyncio.open_connection("127.0.0.1", cut.port)
        writer.write(b"1\n")
        assert await reader.readline() == b"1\n"
        cut.stall()
        writer.write(b"2\n")
        await until(lambda: cut.held == 2)
        assert came == [b"1\n"]
        cut.heal()
        assert await reader.readline() == b"2\n"
        writer.close()
        await until(lambda: cut.connections == 0)


async def test_answers_alone_are_lost():
    """A request reaches the server; its answer is lost with the connection, and a new one works."""
    async with echoing() as (cut, came):
        reader, writer = await asyncio.open_connection("127.0.0.1", cut.port)
        cut.stall(requests=False)
        writer.write(b"1\n")
        await until(lambda: cut.held == 2)
        cut.break_connections()
        with pytest.raises(ConnectionResetError):
            await reader.readline()
        cut.heal()
        reader, writer = await asyncio.open_connection("127.0.0.1", cut.port)
        writer.write(b"2\n")
        assert await reader.readline() == b"2\n"
        assert came == [b"1\n", b"2\n"]
        writer.close()


async def test_nobody_hears_of_a_farewell_over_a_stalled_network():
    """The server keeps the connection of a client that left, until the network heals."""
    async with echoing() as (cut, _):
        _, writer = await asyncio.open_connection("127.0.0.1", cut.port)
        await until(lambda: cut.connections == 1)
        cut.stall()
        writer.close()
        await writer.wait_closed()
        assert cut.connections == 1
        cut.heal()
        await until(lambda: cut.connections == 0)


async def test_refusing():
    """Connections are reset and refused until the network heals, then the port is the same."""
    async with echoing() as (cut, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", cut.port)
        writer.write(b"1\n")
        await reader.readline()
        cut.refuse()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", cut.port)
        cut.heal()
        _, writer = await asyncio.open_connection("127.0.0.1", cut.port)
        writer.close()
