"""Replies: what comes back to a caller who waits at another machine than the one that answers.

    near, where the caller is       far, where the record ends
        record  ------------------------>
                <-----------------------  Answer, once, with the fields of the record that answers
                <-----------------------  Piece, Piece, ..., Ended: where its completion is live
                <-----------------------  Told: how the record ended
        address ------------------------>  the caller has left: cancel

Every `WINDOW`th piece is sent with a question, and the next ones wait until the near side has come as far: so a slow
reader holds back the far side, and no more than that is under way. Machines in between pass the address on, and do not
wait.
This knows no broker: whoever uses it brings functions that send.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

import dagflow.errors as errors
from dagflow.completion import Completion
from dagflow.errors import RecordError, StreamCut, WorkerError, describe
from dagflow.exchange import Chunk
from dagflow.live_values import abandon_live
from dagflow.record import Outcome, Record
from dagflow.store.payload import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagflow.record import Ticket

    Send = Callable[[bytes], Awaitable[None]]

WINDOW: Final = 32
ADDRESS_HEADER: Final = "Dagflow-Reply"


class Fault(msgspec.Struct, omit_defaults=True):
    """An error, as it travels."""

    code: str
    message: str
    kind: str | None = None
    retryable: bool = False
    retry_after: float | None = None
    status: int | None = None


class Answer(msgspec.Struct, tag="answer", omit_defaults=True):
    """The record that answers: its id and fields; `live` if its completion follows in pieces."""

    id: str
    fields: str
    live: bool = False


class Piece(msgspec.Struct, tag="piece"):
    """One chunk of a live completion."""

    chunk: Chunk


class Ended(msgspec.Struct, tag="ended", omit_defaults=True):
    """The end of a live completion."""

    fault: Fault | None = None


class Told(msgspec.Struct, tag="told", omit_defaults=True):
    """How the record ended."""

    outcome: str
    fault: Fault | None = None


Message = Answer | Piece | Ended | Told
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Message).decode
_BY_CODE: Final = {
    cls.code: cls
    for cls in vars(errors).values()
    if isinstance(cls, type) and issubclass(cls, RecordError) and cls is not WorkerError
}


def fault_of(error: RecordError | None) -> Fault | None:
    """Give an error as it travels."""
    if error is None:
        return None
    kind, status = getattr(error, "kind", None), getattr(error, "status", None)
    return Fault(error.code, describe(error), kind, error.retryable, error.retry_after, status)


def error_of(fault: Fault | None) -> RecordError | None:
    """Give an error of the same class that says the same, so that it is told to a caller in the same way."""
    if fault is None:
        return None
    if fault.kind is not None:
        about: dict[str, Any] = {"retryable": fault.retryable, "retry_after": fault.retry_after, "status": fault.status}
        return WorkerError(fault.kind, fault.message, **about)
    cls = _BY_CODE.get(fault.code, RecordError)
    error = cls.__new__(cls, fault.message)
    Exception.__init__(error, fault.message)
    error.retryable, error.retry_after = fault.retryable, fault.retry_after
    return error


class Awaited:
    """The near side of one record: its caller gets the answer as it comes.

    Args:
        ticket: of the record.
    """

    def __init__(self, ticket: Ticket) -> None:
        self._ticket = ticket
        self._come: asyncio.Queue[tuple[bytes, Callable[[], Awaitable[None]] | None]] = asyncio.Queue()
        self._completion: Completion | None = None

    def take(self, message: bytes, confirm: Callable[[], Awaitable[None]] | None) -> None:
        """Take what came; `confirm` tells the far side that it may go on, where it waits for that."""
        self._come.put_nowait((message, confirm))

    async def run(self) -> None:
        """Wait for the end of the record, and note it in the ticket."""
        try:
            while True:
                data, confirm = await self._come.get()
                message = _decode(data)
                if isinstance(message, Told):
                    self._ticket.note_far(Outcome(message.outcome), error_of(message.fault))
                    return
                await self._on(message)
                if confirm is not None:
                    await confirm()
        finally:
            self._cut()

    async def _on(self, message: Answer | Piece | Ended) -> None:
        if isinstance(message, Answer):
            self._cut()  # the far machine died of it, and another one answers
            answer = Record(unpack(message.fields), message.id)
            answer.ticket = self._ticket
            if message.live:
                self._completion = answer["completion"] = Completion.live()
            if not self._ticket.reply(answer):
                abandon_live(answer.values())
        elif self._completion is not None and self._completion.is_live:
            if isinstance(message, Piece):
                await self._completion.feed(message.chunk)
            else:
                self._completion.finish(error_of(message.fault))

    def _cut(self) -> None:
        if self._completion is not None:
            self._completion.finish(StreamCut())


class Answering:
    """The far side of one record.

    Args:
        send: sends a message to the near side.
        ask: sends one, and waits until the near side has come as far; raises an `OSError` where nobody is there.
    """

    def __init__(self, send: Send, ask: Send) -> None:
        self._send, self._ask = send, ask
        self._sending: asyncio.Task[None] | None = None

    def answer(self, answer: Record) -> None:
        """Send the answer, and whatever is to come of it."""
        self._sending = asyncio.ensure_future(self._give(answer))

    async def tell(self, outcome: Outcome, error: RecordError | None) -> None:
        """Say how the record ended, once the answer is there."""
        if self._sending is not None:
            await asyncio.wait([self._sending])
        await self._send(_encode(Told(outcome.value, fault_of(error))))

    async def _give(self, answer: Record) -> None:
        completion = answer.get("completion")
        live = completion if isinstance(completion, Completion) and completion.is_live else None
        fields = {name: value for name, value in answer.items() if value is not live}
        try:
            await self._send(_encode(Answer(answer.id, pack(fields)[0], live is not None)))
            if live is not None:
                await self._stream(live)
        except OSError:
            if answer.ticket is not None:
                answer.ticket.cancel()
        finally:
            abandon_live(answer.values())

    async def _stream(self, completion: Completion) -> None:
        count, fault = 0, None
        try:
            async for chunk in completion.chunks():
                count += 1
                await (self._send if count % WINDOW else self._ask)(_encode(Piece(chunk)))
        except RecordError as error:
            fault = fault_of(error)
        await self._send(_encode(Ended(fault)))
