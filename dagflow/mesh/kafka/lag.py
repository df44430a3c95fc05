"""Lag: how many records of a topic a group has still to do, as far as one sender knows.

A topic has no bound of its own, so whoever sends holds back. What others send is known from the offsets that come back
with acknowledgements; several senders together may go past the bound by what each sent since its last look.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

from dagflow.errors import NotPublished
from dagflow.mesh.kafka.client import Lifetime, load_aiokafka, settings

_PAUSE_S: Final = 0.05  # between two looks, while there is no room


class Lag:
    """Bounds what is sent to a topic and not yet done.

    Args:
        options: where the brokers are.
        group: that reads the topic.
        capacity: how many records may be open.
        room_s: how long a record waits for room, in seconds; None for as long as it takes.
    """

    def __init__(self, options: Any, group: str, capacity: int, room_s: float | None) -> None:
        self._options, self._group = options, group
        self._capacity, self._room_s = capacity, room_s
        self._ends: dict[Any, int] = {}
        self._done: dict[Any, int] = {}
        self._on_way = 0
        self._looking = asyncio.Lock()
        self._looked = 0.0
        self._client: Any = None

    async def open(self) -> None:
        """Connect.

        Raises:
            PluginError: there is no client library, or the brokers cannot be reached or refuse.
        """
        aiokafka = load_aiokafka("transport type `kafka`")
        # It has the group's name and no partitions: it may ask how far the group is, and is no member.
        about = {"group_id": self._group, "enable_auto_commit": False}
        self._client = aiokafka.AIOKafkaConsumer(**settings(self._options), **about)
        self._lifetime = Lifetime(self._client, self._options.servers)
        await self._lifetime.start()

    async def close(self) -> None:
        """Let go of the connections; twice is fine."""
        client, self._client = self._client, None
        if client is not None:
            await self._lifetime.stop()

    async def enter(self, topic: str) -> None:
        """Wait for room for one record, and take it; `left` or `noted` gives it back.

        Raises:
            NotPublished: there was none for too long.
        """
        began = asyncio.get_running_loop().time()
        while self._open >= self._capacity:
            await self._look()
            now = asyncio.get_running_loop().time()
            if self._open < self._capacity:
                break
            if self._room_s is not None and now - began >= self._room_s:
                raise NotPublished(topic, f"{self._open} records of it are open", retryable=True, is_full=True)
            await asyncio.sleep(_PAUSE_S)
        self._on_way += 1

    def left(self) -> None:
        """Learn that what entered was sent, or will not be."""
        self._on_way -= 1

    def noted(self, partition: Any, offset: int) -> None:
        """Learn that a record was stored here."""
        self._ends[partition] = max(self._ends.get(partition, 0), offset + 1)

    @property
    def _open(self) -> int:
        return self._on_way + sum(max(end - self._done.get(one, 0), 0) for one, end in self._ends.items())

    async def _look(self) -> None:
        """Ask how far the group is, unless somebody has just asked."""
        from aiokafka.errors import KafkaError

        async with self._looking:
            now = asyncio.get_running_loop().time()
            if now - self._looked < _PAUSE_S:
                return
            for partition in list(self._ends):
                with suppress(KafkaError):  # they may be away; nothing is known to be done meanwhile
                    self._done[partition] = await self._client.committed(partition) or 0
            self._looked = asyncio.get_running_loop().time()
