"""LiveStream: the chunks of a live completion, between its one producer and its one reader.

It knows nothing of what the chunks mean; the completion does. Invariant: at most
`LIVE_CAPACITY` chunks wait for the reader, and none once nobody will read them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from dagflow.errors import PluginBug, RecordError, StreamCut

if TYPE_CHECKING:
    from dagflow.exchange import Chunk
    from dagflow.rewriting import Rewriting, Rewritings

LIVE_CAPACITY: Final = 64  # chunks that wait for the reader before the producer has to


class LiveStream:
    """What has been fed, and who waits.

    Attributes:
        parts: texts that the completion has not joined yet; joining at each chunk would be quadratic.
        waiting: chunks that the reader has not taken.
        claimed: whether a reader is at it.
        ended: set when nothing more will be fed.
        error: why the stream broke; None while it has not.
        fields: what is to be written into the record at a good end.
        rewriting: what the completion puts each chunk through before it appends it.
    """

    __slots__ = (
        "abandoned",
        "claimed",
        "ended",
        "error",
        "fields",
        "parts",
        "reader",
        "rewriting",
        "waiting",
        "writer",
    )

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.waiting: deque[Chunk] = deque()
        self.ended = asyncio.Event()
        self.error: RecordError | None = None
        self.abandoned = False
        self.claimed = False
        self.fields: dict[str, Any] = {}
        self.rewriting: Rewriting | Rewritings | None = None
        self.reader: asyncio.Future[None] | None = None
        self.writer: asyncio.Future[None] | None = None

    async def wait_for_room(self) -> None:
        """Wait until a chunk may be appended; where nobody reads, only until others have had their turn."""
        if self.abandoned:
            await asyncio.sleep(0)
        while len(self.waiting) >= LIVE_CAPACITY:
            self.writer = asyncio.get_running_loop().create_future()
            await self.writer

    def append(self, chunk: Chunk) -> None:
        """Give a chunk to the reader, and its text to whoever wants the whole."""
        self.parts.append(chunk.text)
        if not self.abandoned:
            self.waiting.append(chunk)
            if self.reader is not None:
                _wake(self.reader)
                self.reader = None

    def start_over(self, so_far: Chunk) -> list[Chunk]:
        """Give back all that was appended, to be appended anew; `so_far` is that in one chunk.

        Raises:
            RuntimeError: somebody has begun to read it.
        """
        if self.claimed:
            raise RuntimeError("somebody is reading this live completion; it can no longer be transformed")
        chunks = [so_far] if self.abandoned else list(self.waiting)
        self.waiting.clear()
        self.parts.clear()
        return chunks

    def rewrite(self, chunk: Chunk | None) -> Chunk | None:
        """Give what may be shown of a chunk, or of what was held back if there is none; an error ends the stream."""
        try:
            return self.rewriting.end() if chunk is None else self.rewriting.feed(chunk)
        except Exception as error:
            if not self.ended.is_set():
                self.end(error if isinstance(error, RecordError) else PluginBug(error))
            return None

    def claim(self) -> None:
        """Become the reader.

        Raises:
            RuntimeError: somebody else is.
        """
        if self.claimed:
            raise RuntimeError("a live completion has one reader; somebody else is reading this one")
        self.claimed = True

    async def wait_for_chunks(self) -> bool:
        """Wait until a chunk may be taken; False at a good end.

        Raises:
            RecordError: the end was a bad one, or somebody else has abandoned the stream.
        """
        while not self.waiting:
            if self.abandoned:
                raise StreamCut
            if self.ended.is_set():
                if self.error is not None:
                    raise self.error
                return False
            self.reader = asyncio.get_running_loop().create_future()
            await self.reader
        return True

    def take(self) -> Chunk:
        """Take the next chunk, which must be there."""
        chunk = self.waiting.popleft()
        # Waking the producer for each free place would switch tasks at every chunk.
        if self.writer is not None and len(self.waiting) <= LIVE_CAPACITY // 2:
            _wake(self.writer)
            self.writer = None
        return chunk

    def take_all(self) -> list[Chunk]:
        """Take all chunks that wait; at least one must be there."""
        chunks = list(self.waiting)
        self.waiting.clear()
        _wake(self.writer)
        self.writer = None
        return chunks

    def abandon(self) -> None:
        """Stop reading: chunks are dropped, and nobody waits for room."""
        self.abandoned = True
        self.waiting.clear()
        _wake(self.reader)
        _wake(self.writer)

    def end(self, error: RecordError | None) -> None:
        """Say that no chunk will follow, and why, if that is an error."""
        self.error = error
        self.ended.set()
        _wake(self.reader)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
