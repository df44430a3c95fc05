"""ThreadCall: a plain function of a plugin, run in a worker thread.

A thread cannot be interrupted. Where its caller gives up (a timeout, a cancellation), the
thread runs on, its result is dropped, and the slot is not idle before it has returned.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Iterator
from threading import Lock
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread

from dagflow.errors import PluginBug

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagflow.record import Record


class ThreadCall:
    """Calls one function in threads, one call at a time."""

    __slots__ = ("_function", "_idle", "_limiter")

    def __init__(self, function: Callable[[Record], Any]) -> None:
        self._function = function
        # The slots bound the threads already; anyio's own limit of 40 must not come on top.
        self._limiter = anyio.CapacityLimiter(math.inf)
        self._idle: asyncio.Event | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no thread of this slot is running."""
        return self._idle is None or self._idle.is_set()

    async def wait_idle(self) -> None:
        """Wait until the thread of an earlier call has returned."""
        if self._idle is not None:
            await self._idle.wait()

    async def __call__(self, record: Record) -> Any:
        """Run the function on the record, after an earlier call's thread has returned."""
        await self.wait_idle()
        idle = self._idle = asyncio.Event()
        loop = asyncio.get_running_loop()
        # Taken once: by the thread as it begins, or by a caller who gives up before that.
        turn = Lock()

        def work() -> Any:
            if not turn.acquire(blocking=False):
                return None
            try:
                return self._compute(record)
            finally:
                if not loop.is_closed():  # the run may have ended without this thread
                    loop.call_soon_threadsafe(idle.set)

        try:
            result = await to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._limiter)
        except BaseException:
            if turn.acquire(blocking=False):
                idle.set()
            raise
        # A wrapper around a coroutine function looks like a plain function, and is as good as one.
        return await result if inspect.isawaitable(result) else result

    def _compute(self, record: Record) -> Any:
        try:
            result = self._function(record)
            # What a generator does belongs in the thread, too.
            return list(result) if isinstance(result, Iterator) and not inspect.isawaitable(result) else result
        except (KeyboardInterrupt, SystemExit) as error:  # means the program only in its main thread
            raise PluginBug(error) from error
