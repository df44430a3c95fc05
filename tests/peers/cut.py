"""Cut: a TCP proxy on loopback between a client and a server, which a test cuts and heals.

A stalled connection stays open and nothing is lost: what was sent goes on when the network heals, as it does after lost
packets. A broken one is reset, and what was held back is lost. It runs in a thread with an event loop of its own.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

from peers.processes import free_port

_TURNS = 5  # of the event loop, in which a connection comes to be that is half accepted; else it would leak


class Cut:
    """Passes on bytes while its block lasts.

    Args:
        target: the port of 127.0.0.1 where the server is; it may be set later.

    Attributes:
        port: where clients connect; it stays the same.
        held: how many bytes wait for the network to heal.
    """

    def __init__(self, target: int = 0) -> None:
        self.target = target
        self.port = free_port()
        self.held = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Cut:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._tasks)

    def stall(self, requests: bool = True, answers: bool = True) -> None:
        """Let nothing pass, in one direction or both; new connections are accepted, and hear nothing."""
        self._in_loop(self._stall, requests, answers)

    def break_connections(self) -> None:
        """Reset all connections; new ones are served, if the network is whole."""
        self._in_loop(self._break)

    def refuse(self) -> None:
        """Reset all connections, and refuse new ones until the network heals."""
        self._in_loop(self._refuse)

    def heal(self) -> None:
        """Let everything pass again, what was held back first."""
        self._in_loop(self._heal)

    def _in_loop(self, change: Callable[..., Awaitable[None]], *args: bool) -> None:
        asyncio.run_coroutine_threadsafe(change(*args), self._loop).result(10)

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._requests, self._answers = asyncio.Event(), asyncio.Event()
        self._server: asyncio.Server | None = None
        await self._heal()
        self._ready.set()
        await self._stopping.wait()
        await self._refuse()

    async def _stall(self, requests: bool, answers: bool) -> None:
        for event, is_stalled in ((self._requests, requests), (self._answers, answers)):
            if is_stalled:
                event.clear()

    async def _break(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _refuse(self) -> None:
        if self._server is not None:
            for sock in self._server.sockets:
                self._loop.remove_reader(sock.fileno())
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            self._server.close()
            self._server = None
        await self._break()

    async def _heal(self) -> None:
        self._requests.set()
        self._answers.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        writers = [writer]
        try:
            await self._requests.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            writers.append(far_writer)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(reader, far_writer, self._requests))
                both.create_task(self._pass(far_reader, writer, self._answers))
        except OSError:  # the server is not there
            pass
        except asyncio.CancelledError:  # by `_break`; nobody awaits this task, and asyncio would log it
            for each in writers:
                # Zero seconds to linger: the kernel sends a reset, not a farewell.
                each.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        finally:
            for each in writers:
                each.transport.abort()
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                self.held += len(data)
                try:
                    await passes.wait()
                finally:
                    self.held -= len(data)
                writer.write(data)
                await writer.drain()
        # Over a cut network nobody learns that the other side has left.
        await passes.wait()
        with suppress(OSError, RuntimeError):
            writer.write_eof()
