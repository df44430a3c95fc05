"""Desk: a child's end of the link to its parent, and who waits there for what."""

from __future__ import annotations

import asyncio
from itertools import count
from time import process_time
from typing import TYPE_CHECKING, Any

from dagflow.admin.readiness import Readiness
from dagflow.errors import DagflowError, describe
from dagflow.processes.link import Link
from dagflow.processes.messages import (
    Ask,
    Begin,
    Bring,
    Cancel,
    Drop,
    Exhausted,
    Failed,
    Force,
    Go,
    Next,
    NotOpened,
    Opened,
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
    from collections.abc import Callable

    from dagflow.engine.succession import Succession
    from dagflow.graph.plan import Plan
    from dagflow.processes.far_source import FarSource

    Compile = Callable[[Begin | Next], Plan]


class Desk:
    """What a child says to its parent, and what comes back.

    Attributes:
        begun: what the parent wants to be run.
        sources: the far sources, by name.
        gone: set when the link is closed; `is_abandoned`: whether that was before the end, as the parent has died.
    """

    _readiness: Readiness
    _compile: Compile

    def __init__(self) -> None:
        self.sources: dict[str, FarSource] = {}
        self.gone = asyncio.Event()
        self.is_abandoned = False
        self._may_go = asyncio.Event()
        self.link = Link(ToChild, self._take, self._on_lost)
        self.begun: asyncio.Future[Begin] = asyncio.get_running_loop().create_future()
        self._numbers = count()
        self._writes: dict[int, asyncio.Future[None]] = {}
        self._run: Succession | None = None
        self._replacing: asyncio.Task[None] | None = None
        self._draining: asyncio.Future[None] | None = None
        self._ended: list[tuple[bool, str]] = []

    async def open(self, sock: socket.socket) -> Begin:
        """Connect, and wait for what is to be run."""
        await self.link.open(sock)
        return await self.begun

    async def begin(self) -> None:
        """Say that everything is open here, and wait until it is everywhere."""
        self._may_go = asyncio.Event()
        self.link.send(Ready() if self._replacing is None else Opened())
        await self._may_go.wait()

    def attend(self, run: Succession, compile: Compile) -> None:
        """Let the parent stop a run, replace its plan by what is compiled of its words, and ask how it is."""
        self._run, self._compile, self._readiness = run, compile, Readiness(run.engine)
        run.on_replaced.append(self._look_at_next)
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
        self._run = None
        self.link.send(Failed(error.code, describe(error)))

    def tell(self, is_last: bool = False) -> None:
        """Tell the parent how the engine is."""
        assert self._run is not None
        readiness = self._readiness
        reasons = [tuple(reason) for reason in readiness.reasons()] if readiness.state == "running" else []
        self.link.send(State(self._run.standing(), process_time(), reasons, is_last))
        if is_last:
            self._run = None

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
                if self._run is not None:
                    self.tell()
            case Go():
                self._may_go.set()
            case Stop(reason):
                self._end(False, reason)
            case Force(reason):
                self._end(True, reason)
            case Begin():
                self.begun.set_result(message)
            case Next():
                self._replacing = asyncio.ensure_future(self._replace(message))
            case Drop():
                if self._replacing is not None:
                    self._replacing.cancel()

    async def _replace(self, message: Next) -> None:
        """Have another plan take over, once it may."""
        try:
            await self._run.replace(self._compile(message))
        except DagflowError as error:
            self.link.send(NotOpened(error.code, describe(error)))
        except Exception as error:
            self.link.send(NotOpened("bug", describe(error)))

    def _look_at_next(self) -> None:
        self._closing = asyncio.ensure_future(self._readiness.close())
        self._readiness = Readiness(self._run.engine)

    def _end(self, forced: bool, reason: str) -> None:
        if self._run is None:
            self._ended.append((forced, reason))
        elif forced:
            self._run.force(reason)
        else:
            self._draining = asyncio.ensure_future(self._drain(self._run, reason))

    async def _drain(self, run: Succession, reason: str) -> None:
        """Stop once what the parent sent has been handed in: it was accepted there."""
        handed_in = [asyncio.ensure_future(source.wait_handed_in()) for source in self.sources.values()]
        if handed_in:
            await asyncio.wait(handed_in, timeout=run.plan.drain_timeout_s)
        run.stop(reason)

    def _on_lost(self) -> None:
        """End with the parent: nobody would ever learn what comes of the rest."""
        self.is_abandoned = self._run is not None
        self.gone.set()
        if not self.begun.done():
            self.begun.cancel()
        self._end(True, "the parent process is gone")
