"""Watch: ends the wait for a stream's next chunk when it takes too long.

One timer serves a whole stream: a chunk costs two looks at the clock, and the timer looks back when it is
due. Time that the reader takes between two chunks is no pause of the server's, but counts in the total.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagflow.config.worker_tables import REMOTE_FIRST_TOKEN_S, REMOTE_TOTAL_S
from dagflow.errors import WorkerError
from dagflow.units import render_duration

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dagflow.config.worker_tables import GuardKeys
    from dagflow.exchange import Chunk


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a worker may take, in seconds; infinity for ever."""

    worker: str
    total_s: float = math.inf
    first_token_s: float = math.inf
    idle_s: float = math.inf

    @classmethod
    def of(cls, worker: str, table: GuardKeys, remote: bool) -> Timeouts:
        """Give those of a worker's table, with the defaults of remote workers where it is one."""
        total_s = table.total_timeout or (REMOTE_TOTAL_S if remote else math.inf)
        first_s = table.first_token_timeout or (REMOTE_FIRST_TOKEN_S if remote else math.inf)
        return cls(worker, total_s, first_s, table.idle_timeout or math.inf)

    @property
    def are_set(self) -> bool:
        """Whether any bounds a stream."""
        return min(self.total_s, self.first_token_s, self.idle_s) < math.inf

    def error(self, key: str) -> WorkerError:
        """Say that the timeout of this key has passed."""
        length = render_duration(getattr(self, f"{key.removesuffix('_timeout')}_s"))
        return WorkerError("timeout", f"worker `{self.worker}` took longer than its `{key}` of {length}")


class Watch:
    """Watches one stream."""

    __slots__ = (
        "_allowed_s",
        "_began",
        "_cancelling",
        "_key",
        "_loop",
        "_since_s",
        "_task",
        "_timeouts",
        "_timer",
        "_until_s",
    )

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        now_s = self._loop.time()
        self._until_s = now_s + timeouts.total_s
        self._allowed_s = timeouts.first_token_s
        self._began = False
        self._since_s: float | None = None
        self._task: asyncio.Task[object] | None = None
        self._key: str | None = None
        self._cancelling = 0
        self._timer: asyncio.TimerHandle | None = None
        self._set(min(self._until_s, now_s + self._allowed_s))

    async def next(self, chunks: AsyncIterator[Chunk]) -> Chunk | None:
        """Wait for the next chunk; None at the end.

        Raises:
            WorkerError: of kind `timeout`; or what the stream raises.
        """
        if self._key is not None:
            raise self._timeouts.error(self._key)
        self._begin()
        try:
            chunk = await anext(chunks, None)
        except asyncio.CancelledError:
            error = self._taken_back()
            if error is None:
                raise
            raise error from None
        self._end()
        return chunk

    def close(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()

    def _begin(self) -> None:
        self._task = task = asyncio.current_task()
        self._cancelling = task.cancelling()
        self._since_s = self._loop.time()

    def _end(self) -> None:
        self._since_s = None
        if not self._began:
            self._began = True
            self._allowed_s = self._timeouts.idle_s
            self.close()  # it would look back when the first chunk was due
            self._set(min(self._until_s, self._loop.time() + self._allowed_s))

    def _taken_back(self) -> WorkerError | None:
        """Take back the cancellation that has just arrived, where it is this watch's own; give why it came."""
        self._since_s = None
        if self._key is None or self._task is None or self._task.uncancel() > self._cancelling:
            return None
        return self._timeouts.error(self._key)

    def _set(self, due_s: float) -> None:
        self._timer = self._loop.call_at(due_s, self._look) if due_s < math.inf else None

    def _look(self) -> None:
        now_s = self._loop.time()
        since_s = now_s if self._since_s is None else self._since_s
        due_s = since_s + self._allowed_s
        if now_s < min(due_s, self._until_s):
            self._set(min(due_s, self._until_s))
            return
        bounded = "idle_timeout" if self._began else "first_token_timeout"
        self._key = "total_timeout" if now_s >= self._until_s else bounded
        if self._since_s is not None:
            self._task.cancel()
