"""AnswerReader: blocks of bytes from the network, to the chunks of a completion.

All events of a block are read in one loop, and the fast part of it is what costs a streamed chunk its time. The last
chunk is held back until its usage is known. An error leaves what came before it to be given out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import msgspec

from dagflow.errors import WorkerError
from dagflow.exchange import Chunk
from dagflow.workers.http.faults import Fault
from dagflow.workers.http.sse import LONGEST, EventReader, EventTooLong

if TYPE_CHECKING:
    from dagflow.exchange import Usage
    from dagflow.workers.http.session import Session


class AnswerReader(ABC):
    """Reads one streamed answer; a class for each kind of server says what its events mean.

    Attributes:
        done: whether the last chunk was given.
        failure: what went wrong after the chunks that were given.
    """

    def __init__(self, session: Session) -> None:
        self.done = False
        self.failure: WorkerError | None = None
        self._session = session
        self._events = EventReader()
        self._start = b""  # of what came, for a message
        self._last: Chunk | None = None
        self._usage: Usage | None = None

    @abstractmethod
    def _take(self, data: bytes, chunks: list[Chunk]) -> None:
        """Read one event, and append what it says.

        Raises:
            WorkerError: it tells of an error, or can't be read.
        """

    def feed(self, block: bytes) -> list[Chunk]:
        """Take what came, or nothing for the end of the stream, and give the chunks in it."""
        chunks: list[Chunk] = []
        self._start = self._start or block
        try:
            for data in self._events.feed(block) if block else self._events.end():
                self._take(data, chunks)
                if self.done:
                    return chunks
            if not block:
                self._finish(chunks)
        except EventTooLong:
            self.failure = WorkerError("protocol", f"an event of the stream is longer than {LONGEST} bytes")
        except WorkerError as error:
            self._fail(error, chunks)
        return chunks

    def cut(self, error: WorkerError) -> list[Chunk]:
        """Take it that the connection broke; give the last chunk, if all but its usage has come."""
        chunks: list[Chunk] = []
        self._fail(error, chunks)
        return chunks

    def _fail(self, error: WorkerError, chunks: list[Chunk]) -> None:
        if self._last is None or error.kind != "unavailable":
            self.failure = error
        else:
            self._finish(chunks)

    def _finish(self, chunks: list[Chunk]) -> None:
        """Give the held-back chunk, at the end of the stream.

        Raises:
            WorkerError: there is none.
        """
        if self._last is None:
            shown = self._session.shown(self._start)
            found = f", which begins with `{shown}`" if shown else ", which is empty"
            raise WorkerError("protocol", f"the stream{found}, ended without a finish reason")
        last, self.done = self._last, True
        chunks.append(Chunk(last.text, last.finish_reason, self._usage, last.model, last.tool_calls, last.reasoning))


def decode_answer(decoder: msgspec.json.Decoder[Any], data: bytes, session: Session) -> Any:
    """Decode a value that a server sent.

    Raises:
        WorkerError: it is no JSON, or of another form; an error that it tells of is told.
    """
    try:
        return decoder.decode(data)
    except (ValueError, RecursionError) as error:
        fault = Fault.of_body(data) if b'"error"' in data else None
        if fault is not None and fault.message and not data.startswith(b"<"):
            raise session.error_of(fault) from error
        wrong = f"its form is odd ({error})" if isinstance(error, msgspec.ValidationError) else "it is no JSON"
        raise WorkerError("protocol", f"the answer cannot be read, since {wrong}: `{session.shown(data)}`") from error
