"""Member: one of the children, through all its lives; the parent's end of its link."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from dagflow.processes.link import Link
from dagflow.processes.messages import Failed, Ready, State, ToParent

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from dagflow.engine.mark import Mark
    from dagflow.processes.messages import Begin


class Parent(Protocol):
    """Who has the children."""

    def on_message(self, member: Member, message: Any) -> None:
        """Take what a child says, but for how it is."""


class Member:
    """One child.

    Attributes:
        starts: how often it was started.
        marks: the records that it has, by their origin.
        outcomes: how its records ended in this life, of those that the parent is told of.
        state: what it said last of itself in this life; None before it said anything.
        is_last: whether it has said its last.
        failure: why it could not start.
        takes_records: whether records may be sent there.
        ready: set once everything is open in this life.
        gone: set when its link is lost.
    """

    link: Link
    _process: Process

    def __init__(self, index: int, parent: Parent) -> None:
        self.index = index
        self.starts = 0
        self.marks: dict[tuple[str, bytes], Mark] = {}
        self.outcomes: Counter[str] = Counter()
        self.state: State | None = None
        self.is_last = self.takes_records = False
        self.failure: Failed | None = None
        self.ready = asyncio.Event()
        self.gone = asyncio.Event()
        self._parent = parent

    @property
    def pid(self) -> int:
        """The process id of this life."""
        return self._process.pid

    async def start(self, begin: Begin) -> None:
        """Begin a life."""
        self.starts += 1
        self.marks, self.outcomes, self.state = {}, Counter(), None
        self.is_last, self.failure, self.takes_records = False, None, False
        self.ready, self.gone = asyncio.Event(), asyncio.Event()
        own, its = socket.socketpair()
        self.link = Link(ToParent, self._take, self._on_lost)
        try:
            command = [sys.executable, "-m", "dagflow.processes", str(its.fileno())]
            self._process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, pass_fds=[its.fileno()])
        finally:
            its.close()
        await self.link.open(own)
        self.link.send(begin)

    def kill(self) -> None:
        """End this life now."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def wait_ready(self) -> bool:
        """Wait until everything is open; False if it died before."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self.ready, self.gone)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return self.ready.is_set()

    async def wait_gone(self) -> str:
        """Wait for the end of this life; says how it ended."""
        await self.gone.wait()
        code = await self._process.wait()
        self.link.close()
        if code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
        return f"signal {-code}"

    def _take(self, message: Any) -> None:
        match message:
            case State():
                self.state, self.is_last = message, message.is_last
            case Ready():
                self.ready.set()
            case Failed():
                self.failure = message
            case _:
                self._parent.on_message(self, message)

    def _on_lost(self) -> None:
        self.takes_records = False
        self.gone.set()


def cores() -> list[int]:
    """Give the cores that this process may use."""
    return sorted(os.sched_getaffinity(0))
