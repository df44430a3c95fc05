"""Pulls: the requests for messages of a consumer that are under way, and what comes for them.

A request ends when all messages have come that it asked for, or when the server says so, to the reply subject that each
request has under one inbox. If nothing is heard any more while some are open, not even a sign of life, they are
forgotten, and another one is made.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from dagflow.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dagflow.channel.doorbell import Doorbell
    from dagflow.mesh.nats.connection import Connection

_EXPIRES_S: Final = 30.0  # a request that got nothing is made again
_BEAT_S: Final = 2.0  # how often the server says that a request still waits
_SILENCE_S: Final = 3 * _BEAT_S
_PAUSE_S: Final = 0.1  # after a request that the server could not take
_NOBODY: Final = "503"
_ENDS: Final = ("404", "408", "409", _NOBODY)
_STORED: Final = "$JS.ACK."  # how the reply subjects of messages of a stream begin
_GONE: Final = "consumer deleted"


class Pulls:
    """The requests to one consumer.

    Args:
        on_message: takes the reply subject, the headers and the payload of each message.
        on_change: told that a request has ended.

    Attributes:
        error: why no message can come any more; None while some can.
        is_dry: whether the last request found no message, or no more.
        is_unheard: whether nobody took the last request: JetStream is not there, or not this consumer.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        consumer: str,
        on_message: Callable[[str, Mapping[str, str] | None, bytes], None],
        on_change: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._name = consumer
        self._on_message, self._on_change = on_message, on_change
        self._asked: dict[str, int] = {}
        self._number = 0
        self._heard = 0.0
        self._pause_s = 0.0
        self._subscription: Any = None
        self.error: PluginError | None = None
        self.is_dry = False
        self.is_unheard = False

    @property
    def asked(self) -> int:
        """How many messages may still come."""
        return sum(self._asked.values()) if self._asked else 0

    async def open(self) -> None:
        """Listen for what will come."""
        self._inbox = self._connection.client.new_inbox()
        self._subscription = await self._connection.client.subscribe(f"{self._inbox}.*", cb=self._take)

    async def close(self, timeout_s: float) -> None:
        """Want nothing more; what is on its way still comes, if that takes no longer than this, in seconds."""
        subscription, self._subscription = self._subscription, None
        self._asked.clear()
        if subscription is not None and self._connection.client.is_connected:
            with suppress(Exception):
                async with asyncio.timeout(timeout_s):
                    await subscription.drain()

    async def ask(self, count: int, waits: bool) -> None:
        """Ask for so many messages; if it does not wait, only for those that are there."""
        if self._pause_s:
            await asyncio.sleep(self._pause_s)
            self._pause_s = 0.0
        self._number += 1
        request: dict[str, Any] = {"batch": count, "no_wait": True}
        if waits:
            request = {"batch": count, "expires": int(_EXPIRES_S * 1e9), "idle_heartbeat": int(_BEAT_S * 1e9)}
        self._asked[str(self._number)] = count
        self.is_dry = self.is_unheard = False
        self._heard = asyncio.get_running_loop().time()
        try:
            await self._connection.client.publish(
                self._subject, json.dumps(request).encode(), reply=f"{self._inbox}.{self._number}"
            )
        except Exception as error:  # the buffer is full while there is no connection, or it was closed
            self._asked.pop(str(self._number), None)
            self._pause_s = _PAUSE_S
            if self._connection.client is None or self._connection.client.is_closed:
                self.error = PluginError(f"the connection is closed: {error}")

    async def wait(self, bell: Doorbell) -> None:
        """Wait for a ring, and for a sign of life."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SILENCE_S):
                await bell.wait()
                return
        if asyncio.get_running_loop().time() - self._heard >= _SILENCE_S:
            self.forget()

    def forget(self) -> None:
        """Expect nothing more of what was asked: the server does not know of it any more."""
        self._asked.clear()
        self._on_change()

    async def _take(self, message: Any) -> None:
        self._heard = asyncio.get_running_loop().time()
        headers = message.headers
        if not message.reply.startswith(_STORED) and headers is not None and "Status" in headers:
            self._take_status(message.subject.rpartition(".")[2], headers)
            return
        # A message has the subject under which it was stored; it is for the oldest request.
        number = next(iter(self._asked), None)
        if number is not None:
            self._asked[number] -= 1
            if not self._asked[number]:
                del self._asked[number]
        self._on_message(message.reply, headers, message.data)

    def _take_status(self, number: str, headers: Mapping[str, str]) -> None:
        status, text = headers["Status"], headers.get("Description", "")
        if status not in _ENDS:
            return
        if _GONE in text.lower():
            self.error = PluginError(f"the consumer `{self._name}` was deleted")
        if status in ("409", _NOBODY):
            self._pause_s = _PAUSE_S
        self._asked.pop(number, None)
        self.is_dry = not self._asked
        self.is_unheard = status == _NOBODY
        self._on_change()
