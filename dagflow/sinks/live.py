"""Live output: the chunks of a completion, written as they come.

`TextStream` writes the bare text, one record after the other; `LineStream` writes a line of JSON for
each chunk, and a last one that says how the stream ended. Both read no chunk before the one before
it is written, so that a slow reader of the output slows the model's server down. A stream that
breaks never looks like one that ended well.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import CancelledError, Lock
from typing import TYPE_CHECKING, Any

from dagflow.completion import Completion
from dagflow.errors import InvalidField, RecordError
from dagflow.sinks.lines import to_line

if TYPE_CHECKING:
    from dagflow.record import Record
    from dagflow.sinks.output import Output


class LiveOutput(ABC):
    """Writes the chunks of records to an output."""

    def __init__(self, output: Output) -> None:
        self._output = output

    @abstractmethod
    async def write(self, record: Record) -> None:
        """Write a record's completion up to its end.

        Raises:
            RecordError: the stream broke, or the output did; what came before is written.
        """

    async def end(self) -> None:  # noqa: B027 (most have nothing to end)
        """Leave the output so that others can go on with it."""

    async def _put(self, piece: bytes) -> None:
        waiting = self._output.write(piece)
        if waiting is not None:
            await waiting


class TextStream(LiveOutput):
    """The bare text of each record, and a line feed; records take turns."""

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self._turn = Lock()
        self._in_line = False  # whether the last record was cut off, and its line has no end

    async def write(self, record: Record) -> None:
        completion = _completion_of(record)
        async with self._turn:
            await self.end()
            self._in_line = True
            try:
                async for chunk in completion.chunks():
                    if chunk.text:
                        await self._put(_encode(chunk.text))
            except RecordError:
                await self.end()
                raise
            await self.end()

    async def end(self) -> None:
        if self._in_line:
            await self._put(b"\n")
            self._in_line = False


class LineStream(LiveOutput):
    """A line for each chunk, with `id` and `text`; the last one has `finish_reason` and `usage`, or `error`."""

    async def write(self, record: Record) -> None:
        completion = _completion_of(record)
        try:
            async for chunk in completion.chunks():
                if chunk.text or chunk.reasoning:
                    await self._put(to_line({"id": record.id, **_told(chunk)}))
        except RecordError as error:
            await self._put(_failed(record, error.code, error.node))
            raise
        except CancelledError:
            # Waiting for room would be refused: where there is none, the last line is missing.
            waiting = self._output.write(_failed(record, "cancelled"))
            if waiting is not None:
                waiting.close()
            raise
        told = completion.as_dict()
        await self._put(to_line({"id": record.id} | {k: v for k, v in told.items() if k not in ("text", "reasoning")}))


def _completion_of(record: Record) -> Completion:
    completion = record.get("completion")
    if not isinstance(completion, Completion):
        raise InvalidField("completion", "a completion, as stage `inference` writes it", completion)
    return completion


def _encode(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidField("completion", f"text that UTF-8 can hold ({error.reason})", text) from None


def _told(chunk: Any) -> dict[str, str]:
    told = {"text": chunk.text} if chunk.text else {}
    return told | {"reasoning": chunk.reasoning} if chunk.reasoning else told


def _failed(record: Record, code: str, node: str | None = None) -> bytes:
    """Say that a stream broke; its message stands in the report, where secrets have been taken out of it."""
    return to_line({"id": record.id, "error": {"code": code, "node": node} if node else {"code": code}})
