"""Telling: a source is told how each of its records ended, exactly once.

A `settle` that is a coroutine function is awaited, one record after the other. Until then the
record keeps its place at the gate: a source that is slow to be told holds up its own intake.
"""

from __future__ import annotations

import inspect
from collections import deque
from typing import TYPE_CHECKING, Any

import anyio
from anyio import CancelScope

from dagflow.channel.doorbell import Doorbell
from dagflow.engine.faults import is_interruption
from dagflow.errors import describe

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dagflow.engine.book import Book
    from dagflow.plugin import Source
    from dagflow.record import Outcome, Ticket


class Telling:
    """Calls the `settle` of one source."""

    __slots__ = ("_bell", "_book", "_finished", "_log", "_node", "_pending", "_plugin", "_scope")

    def __init__(self, node: str, plugin: Source, book: Book, log: Any) -> None:
        self._node = node
        self._plugin = plugin
        self._book = book
        self._log = log
        self._pending: deque[tuple[Awaitable[None], Ticket]] = deque()
        self._bell = Doorbell()
        self._finished = False
        self._scope: CancelScope | None = None

    def tell(self, ticket: Ticket, outcome: Outcome) -> None:
        """Tell the source now; if it takes its time, `run` waits for it."""
        told = None
        try:
            told = self._plugin.settle(ticket.record, outcome)
        except BaseException as error:
            self._take(error)
        if told is None:
            ticket.let_go()
        else:
            self._book.hold_place()
            self._pending.append((told, ticket))
            self._bell.ring()

    async def run(self) -> None:
        """Await what `settle` returned, in order, until `finish`; a cancelled run tells its outcomes all the same."""
        with CancelScope(shield=True) as self._scope:
            while self._pending or not self._finished:
                if self._pending:
                    await self._tell_next()
                else:
                    await self._bell.wait()
        if self._pending:
            self._log.error("the source did not take its outcomes in time", node=self._node, records=len(self._pending))
        for told, _ in self._pending:
            if inspect.iscoroutine(told):
                told.close()

    def finish(self, timeout_s: float) -> None:
        """Let `run` return when it has told all outcomes, or after this many seconds."""
        self._finished = True
        self._bell.ring()
        if self._scope is not None:
            self._scope.deadline = anyio.current_time() + timeout_s

    async def _tell_next(self) -> None:
        told, ticket = self._pending[0]
        try:
            await told
        except BaseException as error:
            self._take(error)
        self._pending.popleft()
        self._book.free_place()
        ticket.let_go()

    def _take(self, error: BaseException) -> None:
        if is_interruption(error):
            raise error
        self._log.error("settle raised", node=self._node, error=describe(error), exc_info=error)
