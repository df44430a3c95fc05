"""Flight: one call that several identical requests share.

The call runs in a task of its own, so that it belongs to nobody: whoever asked first may be cancelled, and the
others go on; when the last one leaves, it is cancelled. Who joins later gets what has come so far, then what comes.
Invariant: a call that has shown a chunk to somebody is never begun again for the others.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace as changed

from dagflow.errors import StreamCut
from dagflow.live_stream import LIVE_CAPACITY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from dagflow.exchange import Chunk, Request

    Call = Callable[[Request], AsyncIterator[Chunk]]


class _Listener:
    """One request that takes part."""

    __slots__ = ("request", "taken")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.taken = 0


class Flight:
    """A shared call under way."""

    def __init__(self, request: Request, call: Call, on_end: Callable[[], None]) -> None:
        self.request = replace(request)  # its deadline and priority are those of whoever listens
        self.listeners: list[_Listener] = []
        self.payer: _Listener | None = None
        self._chunks: list[Chunk] = []
        self._error: BaseException | None = None
        self._ended = False
        self._bell = asyncio.Event()
        self._room = asyncio.Event()
        self._on_end = on_end
        self.task = asyncio.ensure_future(self._run(call))

    def join(self, request: Request) -> _Listener:
        """Take part; what the call may take is now what the most patient and most urgent of all may."""
        listener = _Listener(request)
        self.listeners.append(listener)
        self._regard_listeners()
        return listener

    def leave(self, listener: _Listener) -> None:
        """Take part no longer; the last one ends the call."""
        self.listeners.remove(listener)
        if self.payer is listener and not self._ended:
            self.payer = None
        self._room.set()
        if self.listeners:
            self._regard_listeners()
        else:
            self._on_end()
            self.task.cancel()

    async def take(self, listener: _Listener) -> Chunk | None:
        """Wait for the next chunk of one listener; None at the end.

        Raises:
            WorkerError: what the call raised; all listeners get it, after the chunks before it.
        """
        while listener.taken >= len(self._chunks):
            if self._error is not None:
                raise self._error
            if self._ended:
                return None
            self._bell.clear()
            await self._bell.wait()
        chunk = self._chunks[listener.taken]
        listener.taken += 1
        self._room.set()
        return chunk

    async def _run(self, call: Call) -> None:
        try:
            stream = call(self.request)
            try:
                async for chunk in stream:
                    self._chunks.append(chunk)
                    self._bell.set()
                    while self._lead() >= LIVE_CAPACITY:
                        self._room.clear()
                        await self._room.wait()
            finally:
                await stream.aclose()
        except Exception as error:
            self._error = error
        except BaseException:
            self._error = StreamCut()  # for those who listen, it is no good end
            raise
        finally:
            self._ended = True
            self._bell.set()
            self._on_end()

    def charge(self, listener: _Listener, chunk: Chunk) -> Chunk:
        """Let the first who comes to a usage pay for it and for those after it; the others have them for nothing."""
        if self.payer is None:
            self.payer = listener
        return chunk if self.payer is listener else changed(chunk, usage=free(chunk.usage))

    def _lead(self) -> int:
        """How many chunks nobody has taken yet."""
        return len(self._chunks) - max((listener.taken for listener in self.listeners), default=len(self._chunks))

    def _regard_listeners(self) -> None:
        requests = [listener.request for listener in self.listeners]
        deadlines = [request.deadline for request in requests]
        self.request.deadline = None if None in deadlines else max(deadlines)
        self.request.priority = max(request.priority for request in requests)


class Flights:
    """The calls under way, by what is asked."""

    def __init__(self) -> None:
        self._flights: dict[bytes, Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def stream(self, key: bytes, request: Request, call: Call) -> AsyncIterator[Chunk]:
        """Give the chunks of a call with this key: one under way, or a new one."""
        flight = self._flights.get(key)
        joins = flight is not None
        if flight is None:
            flight = self._flights[key] = Flight(request, call, lambda: self._forget(key, flight))
            self._tasks.add(flight.task)
            flight.task.add_done_callback(self._tasks.discard)
        listener = flight.join(request)
        try:
            while (chunk := await flight.take(listener)) is not None:
                if chunk.usage is not None:
                    chunk = flight.charge(listener, chunk)
                    joins = flight.payer is not listener
                # Who pays is known at the end only: whoever came first may have left.
                yield changed(chunk, shared="flight") if joins and chunk.finish_reason is not None else chunk
        finally:
            flight.leave(listener)

    async def close(self) -> None:
        """End what is under way, and wait for calls that have been left, but have not let go of their worker."""
        for flight in self._flights.values():
            flight.task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _forget(self, key: bytes, flight: Any) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


def free(usage: Any) -> Any:
    """Give a usage that costs nothing, for an answer that was paid for before; where nothing has a price, as it is."""
    return usage if usage is None or usage.cost is None else changed(usage, cost=0.0)
