"""Desk: a child's end of the link to its parent, and who waits there for what."""

from __future__ import annotations

import asyncio
from itertools import count
from time import process_time
from typing import TYPE_CHECKING, Any

from dagflow.admin.readiness import Readiness
from dagflow.engine.standing import read_standing
from dagflow.errors import describe
from dagflow.processes.link import Link
from dagflow.processes.messages import (
    Ask,
    Begin,
    Bring,
    Cancel,
    Exhausted,
    Failed,
    Force,
    Go,
    Ready,
    State,
    Stop,
    ToChild,
    Withdraw,
    Write,
    Written,
)
from dagflow.processes.packing import unpack_error

if TYPE_CHECKING:
    import socket

    from dagflow.engine.engine import Engine
    from dagflow.errors import DagflowError
    from dagflow.processes.far_source import FarSource


class Desk:
    """What a child says to its parent, and what comes back.

    Attributes:
        begun: what the parent wants to be run.
        sources: the far sources, by name.
        gone: set when the link is closed.
    """

    _readiness: Readiness

    def __init__(self) -> None:
        self.sources: dict[str, FarSource] = {}
        self.gone = asyncio.Event()
        self._may_go = asyncio.Event()
        self.link = Link(ToChild, self._take, self._on_lost)
        self.begun: asyncio.Future[Begin] = asyncio.get_running_loop().create_future()
        self._numbers = count()
        self._writes: dict[int, asyncio.Future[None]] = {}
        self._engine: Engine | None = None
        self._draining: asyncio.Future[None] | None = None
        self._ended: list[tuple[bool, str]] = []

    async def open(self, sock: socket.socket) -> Begin:
        """Connect, and wait for what is to be run."""
        await self.link.open(sock)
        return await self.begun

    async def begin(self) -> None:
        """Say that everything is open here, and wait until it is everywhere."""
        self.link.send(Ready())
        await self._may_go.wait()

    def attend(self, engine: Engine) -> None:
        """Let the parent stop an engine, and ask how it is."""
        self._engine, self._readiness = engine, Readiness(engine)
        for forced, reason in self._ended:
            self._end(forced, reason)

    async def write(self, sink: str, origin: tuple[str, bytes] | None, edge: str, rest: str, what: Any) -> None:
        """Have a sink of the parent take something.

        Raises:
            RecordError: it did not.
            TypeError, ValueError, OverflowError, RecursionError: a value in it cannot travel.
        """
        number = next(self._numbers)
        self.link.send(Write(number, sink, origin, edge, rest, what))
        written = self._writes[number] = asyncio.get_running_loop().create_future()
        try:
            await written
        finally:
            if self._writes.pop(number, None) is not None:
                self.link.send(Withdraw(number))

    def fail(self, error: DagflowError) -> None:
        """Tell the parent that there is nothing to run."""
        self._engine = None
        self.link.send(Failed(error.code, describe(error)))

    def tell(self, is_last: bool = False) -> None:
        """Tell the parent how the engine is."""
        assert self._engine is not None
        readiness = self._readiness
        reasons = [tuple(reason) for reason in readiness.reasons()] if readiness.state == "running" else []
        self.link.send(State(read_standing(self._engine), process_time(), reasons, is_last))
        if is_last:
            self._engine = None

    def _take(self, message: Any) -> None:
        match message:
            case Written(number, fault):
                written = self._writes.pop(number, None)
                if written is None or written.done():
                    return
                if fault is None:
                    written.set_result(None)
                else:
                    written.set_exception(unpack_error(fault))
            case Bring(source):
                self.sources[source].take(message)
            case Cancel(source, key):
                self.sources[source].cancel(key)
            case Exhausted(source):
                self.sources[source].end()
            case Ask():
                if self._engine is not None:
                    self.tell()
            case Go():
                self._may_go.set()
            case Stop(reason):
                self._end(False, reason)
            case Force(reason):
                self._end(True, reason)
            case Begin():
                self.begun.set_result(message)

    def _end(self, forced: bool, reason: str) -> None:
        if self._engine is None:
            self._ended.append((forced, reason))
        elif forced:
            self._engine.force(reason)
        else:
            self._draining = asyncio.ensure_future(self._drain(self._engine, reason))

    async def _drain(self, engine: Engine, reason: str) -> None:
        """Stop once what the parent sent has been handed in: it was accepted there."""
        handed_in = [asyncio.ensure_future(source.wait_handed_in()) for source in self.sources.values()]
        if handed_in:
            await asyncio.wait(handed_in, timeout=engine.plan.drain_timeout_s)
        engine.stop(reason)

    def _on_lost(self) -> None:
        """End with the parent: nobody would ever learn what comes of the rest."""
        self.gone.set()
        if not self.begun.done():
            self.begun.cancel()
        self._end(True, "the parent process is gone")
