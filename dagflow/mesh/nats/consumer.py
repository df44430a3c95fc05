"""Consumer: takes messages of a durable pull consumer, and knows each until it is done or given back.

    message -> buffered -> handed out -> acknowledged, or given back
               `----- kept alive -----'

A message is asked for when there is room for it. While it is held here, the server is told now and then that work goes
on. If it comes once more all the same, since a connection was cut for too long, it is not handed out twice: who holds
it gets its new reply subject, and what is done already is acknowledged again. What an acknowledgement loses on its way
comes again, so the memory of what is done is bounded, and a message may be handed out twice after that.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from dagflow.channel.doorbell import Doorbell
from dagflow.errors import PluginError
from dagflow.mesh.nats.jetstream import ask, find_stream, origin_of, reason_of
from dagflow.mesh.nats.outbox import Outbox
from dagflow.mesh.nats.pulling import Pulls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dagflow.mesh.nats.connection import Connection

_REMEMBERED: Final = 65_536  # messages; more than can be under way after a cut
_BEATS: Final = 3  # signs of life within the time after which the server would deliver again
_FLUSH_S: Final = 0.2
_MISSED: Final = 20  # looks for the consumer, 0.1 s apart, before it is given up
_POLL_S: Final = 0.2  # between two looks whether a stream is empty


class Delivery:
    """A message that is held here.

    Attributes:
        key: tells it from all other messages of the stream, and of one of the same name.
        sequence: its number in the stream.
        deliveries: how often it was delivered, this time included.
        reply: where the server is told what became of it.
        since: when it came or was last kept alive, on the loop's clock.
    """

    __slots__ = ("deliveries", "headers", "key", "payload", "reply", "sequence", "since")

    def __init__(self, reply: str, headers: Mapping[str, str] | None, payload: bytes, since: float) -> None:
        self.sequence, stored, self.deliveries = origin_of(reply)
        self.key = (self.sequence, stored)
        self.reply = reply
        self.headers = headers
        self.payload = payload
        self.since = since


class _Remembered(OrderedDict[tuple[int, str], None]):
    """Keys of messages, of which the oldest are forgotten."""

    def add(self, key: tuple[int, str]) -> None:
        self[key] = None
        if len(self) > _REMEMBERED:
            self.popitem(last=False)


class Consumer:
    """One program's share of a durable consumer.

    Args:
        connection: open.
        stream, name: of the consumer, which is created with `settings` if it is not there.
        settings: a `ConsumerConfig`, as the client library has it.
        room: says how many records would be taken now.
        most: how many messages are asked for at a time, at most.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        name: str,
        settings: Any,
        room: Callable[[], int],
        most: int,
        log: Any,
    ) -> None:
        self._connection = connection
        self._stream, self._name, self._settings = stream, name, settings
        self._room, self._most = room, most
        self._log = log
        self._bell = Doorbell()
        self._buffer: deque[Delivery] = deque()
        self._held: dict[tuple[int, str], Delivery] = {}
        self._done = _Remembered()
        self._given_back = _Remembered()
        self._outbox = Outbox(connection)
        self._pulls = Pulls(connection, stream, name, self._on_message, self._bell.ring)
        self._beating: asyncio.Task[None] | None = None
        self._missed = 0

    async def open(self) -> None:
        """Find or create the consumer, and get ready.

        Raises:
            PluginError: the stream is not there, or the consumer does not fit.
        """
        await find_stream(self._connection, self._stream)
        config = await self._find_or_create()
        await self._pulls.open()
        self._connection.on_reconnected.append(self._pulls.forget)
        self._outbox.open()
        self._beating = asyncio.ensure_future(self._beat(config.ack_wait / _BEATS))

    async def close(self) -> None:
        """Give back what is held, at once; twice is fine."""
        if self._beating is not None:
            self._beating.cancel()
            self._beating = None
            await self._pulls.close(_FLUSH_S)
            for delivery in list(self._held.values()):
                self.give_back(delivery, 0.0)
            self._buffer.clear()
            await self._outbox.close(_FLUSH_S)
            await self._connection.flush(_FLUSH_S)

    async def next(self, until_empty: bool = False) -> Delivery | None:
        """Wait for the next message.

        Args:
            until_empty: give None where all that the stream has for this consumer is done, or was given back by this.

        Raises:
            PluginError: the consumer is gone.
        """
        while True:
            if self._pulls.error is not None:
                raise self._pulls.error
            if self._pulls.is_unheard:
                await self._check_there()
            if until_empty and self._pulls.is_dry and not self._buffer:
                if await self._is_empty():
                    return None
                await asyncio.sleep(_POLL_S)
            waiting = len(self._buffer) + self._pulls.asked
            if waiting <= self._most // 2:
                wanted = min(self._most, max(self._room(), 1)) - waiting
                if wanted > 0:
                    await self._pulls.ask(wanted, waits=not until_empty)
            if self._buffer:
                return self._buffer.popleft()
            await self._pulls.wait(self._bell)

    def acknowledge(self, delivery: Delivery) -> None:
        """Say that a message is done."""
        if self._held.pop(delivery.key, None) is not None:
            self._done.add(delivery.key)
        self._outbox.put(delivery.reply, b"")

    def give_back(self, delivery: Delivery, delay_s: float) -> None:
        """Have a message delivered again, to anybody, after this many seconds."""
        self._held.pop(delivery.key, None)
        self._given_back.add(delivery.key)
        self._outbox.put(delivery.reply, b'-NAK {"delay": %d}' % round(delay_s * 1e9) if delay_s else b"-NAK")

    def _on_message(self, reply: str, headers: Mapping[str, str] | None, payload: bytes) -> None:
        delivery = Delivery(reply, headers, payload, asyncio.get_running_loop().time())
        self._given_back.pop(delivery.key, None)
        if delivery.key in self._done:
            self._outbox.put(reply, b"")
        elif (held := self._held.get(delivery.key)) is not None:
            held.reply, held.deliveries, held.since = reply, delivery.deliveries, delivery.since
        else:
            self._held[delivery.key] = delivery
            self._buffer.append(delivery)
        self._bell.rouse()

    async def _beat(self, pause_s: float) -> None:
        """Keep alive what is held."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(pause_s)
            if not self._connection.client.is_connected:  # it would all wait here, and come too late
                continue
            due = loop.time() - pause_s / 2
            for delivery in list(self._held.values()):
                if delivery.since < due:
                    delivery.since = loop.time()
                    self._outbox.put(delivery.reply, b"+WPI")

    async def _check_there(self) -> None:
        from nats.errors import Error
        from nats.js.errors import NotFoundError

        try:
            await ask(self._connection, "consumer_info", self._stream, self._name)
            self._missed = 0
        except NotFoundError:
            self._missed += 1  # a server that has just started may not know it yet
            if self._missed > _MISSED:
                raise PluginError(f"the consumer `{self._name}` was deleted") from None
        except (TimeoutError, Error):  # it may come back
            return

    async def _is_empty(self) -> bool:
        from nats.errors import Error

        with suppress(Error, TimeoutError):
            found = await ask(self._connection, "consumer_info", self._stream, self._name)
            mine = len(self._held) + len(self._given_back)
            return not found.num_pending and found.num_ack_pending <= mine and not self._buffer
        return False

    async def _find_or_create(self) -> Any:
        from nats.errors import Error
        from nats.js.errors import NotFoundError

        try:
            try:
                found = await ask(self._connection, "consumer_info", self._stream, self._name)
            except NotFoundError:
                found = await ask(self._connection, "add_consumer", self._stream, self._settings)
        except (TimeoutError, Error) as error:
            raise PluginError(f"cannot use the consumer `{self._name}`: {reason_of(error)}") from error
        self._check(found.config)
        return found.config

    def _check(self, found: Any) -> None:
        whose = f"the consumer `{self._name}` of `{self._stream}`"
        if found.deliver_subject:
            raise PluginError(f"{whose} pushes; expected one that is pulled from")
        if str(getattr(found.ack_policy, "value", found.ack_policy)) != "explicit":
            raise PluginError(f"{whose} acknowledges otherwise than each message; expected `explicit`")
        filters = {found.filter_subject} if found.filter_subject else set(found.filter_subjects or ())
        wanted = self._settings.filter_subject
        if wanted is not None and filters != {wanted}:
            has = ", ".join(f"`{one}`" for one in sorted(filters)) or "all subjects"
            raise PluginError(f"{whose} takes {has}, not `{wanted}`; choose another name, or delete it")
        if (found.max_deliver or -1) > 0:
            self._log.warning("messages are lost for good", consumer=self._name, after_deliveries=found.max_deliver)
