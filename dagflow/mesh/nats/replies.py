"""Replies over NATS: an inbox for those who wait here, and cancellations for those who work for others.

Nothing of this is stored: a caller does not outlive its connection.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from dagflow.mesh.carried import fit
from dagflow.mesh.reply import Answering, Awaited
from dagflow.record import Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dagflow.mesh.nats.connection import Connection
    from dagflow.record import Record

_PATIENCE_S: Final = 30.0  # for a reader who is slow; then nobody reads
_REMEMBERED: Final = 10_000  # callers who left before their record came here


def _cancel_subject(pipeline: str) -> str:
    return f"dagflow-cancel.{fit(pipeline)}"


class Waiting:
    """Those who wait at this program for records that went elsewhere."""

    def __init__(self, connection: Connection, pipeline: str) -> None:
        self._connection = connection
        self._cancels = _cancel_subject(pipeline)
        self._awaited: dict[str, Awaited] = {}
        self._number = 0
        self._sending: set[asyncio.Future[None]] = set()
        self._subscription: Any = None

    async def open(self) -> None:
        """Listen for what comes back."""
        self._inbox = self._connection.client.new_inbox()
        self._subscription = await self._connection.client.subscribe(f"{self._inbox}.*", cb=self._take)

    async def close(self) -> None:
        """Stop listening; twice is fine."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with suppress(Exception):
                await subscription.unsubscribe()

    def expect(self, record: Record) -> tuple[str, Awaited]:
        """Give the address that a record is to carry, and what waits there."""
        self._number += 1
        number, awaited = str(self._number), Awaited(record.ticket)
        self._awaited[number] = awaited
        return f"{self._inbox}.{number}", awaited

    def forget(self, address: str) -> None:
        """Wait no longer."""
        self._awaited.pop(address.rpartition(".")[2], None)

    def cancel(self, address: str) -> None:
        """Say wherever the record may be that nobody waits for it any more."""
        sending = asyncio.ensure_future(_published(self._connection, self._cancels, address.encode()))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def _take(self, message: Any) -> None:
        awaited = self._awaited.get(message.subject.rpartition(".")[2])
        if awaited is None:
            return  # and who asks learns by waiting in vain; the cancellation comes sooner
        reply = message.reply
        awaited.take(message.data, (lambda: _published(self._connection, reply, b"")) if reply else None)


class Working:
    """Records that are worked on here for callers elsewhere."""

    def __init__(self, connection: Connection, pipeline: str) -> None:
        self._connection = connection
        self._cancels = _cancel_subject(pipeline)
        self._records: dict[str, Record] = {}
        self._answering: dict[Record, Answering] = {}
        self._left: OrderedDict[str, None] = OrderedDict()
        self._subscription: Any = None

    async def open(self) -> None:
        """Listen for cancellations."""
        self._subscription = await self._connection.client.subscribe(self._cancels, cb=self._on_cancel)

    async def close(self) -> None:
        """Stop listening; twice is fine."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with suppress(Exception):
                await subscription.unsubscribe()

    def begin(self, record: Record) -> None:
        """Learn of a record that is about to be accepted here."""
        self._records[record.reply_to] = record

    def note_accepted(self, record: Record) -> None:
        """Cancel a record whose caller had left before it came here."""
        if self._left and self._records.get(record.reply_to) is record and record.reply_to in self._left:
            record.ticket.cancel()

    def answer(self, record: Record, answer: Record) -> None:
        """Send an answer to who waits."""
        self._of(record).answer(answer)

    def end(self, record: Record, outcome: Outcome) -> Awaitable[None] | None:
        """Tell who waits how the record ended, unless that is for the machine to say that it was handed to."""
        self._records.pop(record.reply_to, None)
        return None if outcome is Outcome.HANDED_OFF else self._tell(record, outcome)

    async def _tell(self, record: Record, outcome: Outcome) -> None:
        await self._of(record).tell(outcome, record.ticket.error)
        self._answering.pop(record, None)

    def _of(self, record: Record) -> Answering:
        address = record.reply_to
        if record not in self._answering:
            self._answering[record] = Answering(
                lambda data: _published(self._connection, address, data),
                lambda data: _asked(self._connection, address, data),
            )
        return self._answering[record]

    async def _on_cancel(self, message: Any) -> None:
        address = message.data.decode()
        self._left[address] = None
        if len(self._left) > _REMEMBERED:
            self._left.popitem(last=False)
        record = self._records.get(address)
        if record is not None and record.ticket is not None:
            record.ticket.cancel()


async def _published(connection: Connection, subject: str, data: bytes) -> None:
    with suppress(Exception):  # the connection is gone, or the answer too large: the caller hears of it by the outcome
        await connection.client.publish(subject, data)


async def _asked(connection: Connection, subject: str, data: bytes) -> None:
    try:
        await connection.client.request(subject, data, timeout=_PATIENCE_S)
    except Exception as error:
        raise ConnectionError(f"nobody reads: {error}") from error
