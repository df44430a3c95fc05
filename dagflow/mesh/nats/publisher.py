"""Publisher: sends messages to streams, and waits until each is stored.

A message is sent again, with the same id, as long as nothing is heard of it: after a while, and at once when a lost
connection is there again. The stream drops what it has already, as far as it remembers ids (`duplicate_window`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dagflow.errors import NotPublished
from dagflow.mesh.nats.connection import said

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagflow.mesh.nats.connection import Connection

ID_HEADER: Final = "Nats-Msg-Id"
_STREAM_HEADER: Final = "Nats-Expected-Stream"
_RESEND_S: Final = 2.0
_SWEEP_S: Final = 0.5
_PAUSES_S: Final = (0.01, 0.02, 0.05, 0.1, 0.2)  # between attempts that the server refused
_NO_ROOM: Final = (10077, 10023)  # codes of JetStream: a limit of the stream; its server's resources
_IN_PROCESS: Final = 10158  # the same message was sent before, and is not stored yet


class _Full(Exception):
    """The stream is full."""


class _Fault(msgspec.Struct):
    code: int = 500
    err_code: int = 0
    description: str = ""


class _Answer(msgspec.Struct):
    error: _Fault | None = None
    duplicate: bool = False


_decode: Final = msgspec.json.Decoder(_Answer).decode
_NOBODY: Final = _Answer(_Fault(503, 0, "no stream takes this subject"))


class Publisher:
    """Publishes over one connection; any number of calls may wait at a time.

    Args:
        connection: open.
        stream: that must take the messages; None for any.
        patience_s: how long a message is tried, in seconds, while no server takes it.
        room_s: how long a message waits while the stream is full, in seconds; None for as long as it takes.
    """

    def __init__(self, connection: Connection, stream: str | None, patience_s: float, room_s: float | None) -> None:
        self._connection = connection
        self._stream = stream
        self._patience_s = patience_s
        self._room_s = room_s
        self._waiting: dict[str, tuple[asyncio.Future[_Answer | None], float]] = {}
        # While a stream is full, one after the other tries to get in, in the order in which they came.
        self._narrow = asyncio.Lock()
        self._number = 0
        self._subscription: Any = None
        self._sweeping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Listen for acknowledgements."""
        from nats import errors

        self._errors = errors
        self._inbox = self._connection.client.new_inbox()
        self._subscription = await self._connection.client.subscribe(f"{self._inbox}.*", cb=self._take)
        self._connection.on_reconnected.append(self._resend_all)
        self._sweeping = asyncio.ensure_future(self._sweep())

    async def close(self) -> None:
        """Stop listening; twice is fine."""
        sweeping, self._sweeping = self._sweeping, None
        if sweeping is not None:
            sweeping.cancel()
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with suppress(Exception):
                await subscription.unsubscribe()

    async def publish(self, subject: str, headers: Mapping[str, str], payload: bytes, id: str | None) -> bool:
        """Publish one message, and wait until it is stored.

        Args:
            id: by which the stream knows that it has it already; None to store it in any case.

        Returns:
            Whether the stream had it already.

        Raises:
            NotPublished: it was refused, or no server took it in time.
        """
        given = dict(headers)
        if id is not None:
            given[ID_HEADER] = id
        if self._stream is not None:
            given[_STREAM_HEADER] = self._stream
        began = asyncio.get_running_loop().time()
        if not self._narrow.locked():
            with suppress(_Full):
                return await self._insist(subject, given, payload, began, waits=False)
        async with self._narrow:
            return await self._insist(subject, given, payload, began, waits=True)

    async def _insist(
        self, subject: str, headers: Mapping[str, str], payload: bytes, began: float, waits: bool
    ) -> bool:
        """Send a message until it is stored, or there is no hope; `waits` for room, or raises `_Full`."""
        ends = asyncio.get_running_loop().time() + self._patience_s
        refusals = 0
        while True:
            answer = await self._send(subject, headers or None, payload)
            if answer is not None and answer.error is None:
                return answer.duplicate
            is_full = self._check(subject, None if answer is None else answer.error, began, ends)
            if is_full and not waits:
                raise _Full
            if answer is not None:
                await asyncio.sleep(_PAUSES_S[min(refusals, len(_PAUSES_S) - 1)])
                refusals += 1

    async def _send(self, subject: str, headers: Mapping[str, str] | None, payload: bytes) -> _Answer | None:
        """Send a message once, and give the answer; None where none came."""
        self._number += 1
        number, loop = str(self._number), asyncio.get_running_loop()
        future: asyncio.Future[_Answer | None] = loop.create_future()
        self._waiting[number] = (future, loop.time() + _RESEND_S)
        try:
            await self._post(subject, headers, payload, f"{self._inbox}.{number}")
            return await future
        finally:
            del self._waiting[number]

    async def _post(self, subject: str, headers: Mapping[str, str] | None, payload: bytes, reply: str) -> None:
        client, errors = self._connection.client, self._errors
        if client is None:
            raise NotPublished(subject, "the connection is closed")
        try:
            await client.publish(subject, payload, reply=reply, headers=headers)
        except errors.MaxPayloadError:
            most = client.max_payload
            raise NotPublished(subject, f"it has {len(payload)} bytes, and the server takes {most}") from None
        except errors.OutboundBufferLimitError:
            pass  # there is no connection; it is sent when there is one
        except (errors.Error, OSError) as error:
            raise NotPublished(subject, said(error), retryable=True) from error

    def _check(self, subject: str, fault: _Fault | None, began: float, ends: float) -> bool:
        """Say whether the stream is full; raise where there is to be no other attempt."""
        is_late = asyncio.get_running_loop().time() >= ends
        if fault is None:
            if is_late:
                raise NotPublished(subject, f"no server acknowledged it within {self._patience_s:g} s", retryable=True)
            return False
        if fault.err_code in _NO_ROOM:
            if self._room_s is not None and asyncio.get_running_loop().time() - began >= self._room_s:
                raise NotPublished(subject, f"the stream is full ({fault.description})", retryable=True, is_full=True)
            return True
        if fault.code < 500 and fault.err_code != _IN_PROCESS:
            raise NotPublished(subject, fault.description)
        if is_late:
            raise NotPublished(subject, fault.description, retryable=True)
        return False

    async def _take(self, message: Any) -> None:
        found = self._waiting.get(message.subject.rpartition(".")[2])
        if found is None or found[0].done():
            return
        try:
            answer = _NOBODY if message.headers and "Status" in message.headers else _decode(message.data)
        except msgspec.DecodeError as error:
            answer = _Answer(_Fault(400, 0, f"something answers that is no stream: {error}"))
        found[0].set_result(answer)

    def _resend_all(self) -> None:
        for future, _ in list(self._waiting.values()):
            if not future.done():
                future.set_result(None)

    async def _sweep(self) -> None:
        """Wake those who have waited for too long."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = asyncio.get_running_loop().time()
            for future, due in list(self._waiting.values()):
                if due > now:
                    break  # the others came later
                if not future.done():
                    future.set_result(None)
