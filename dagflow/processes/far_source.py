"""FarSource: stands in a child for a source that the parent reads."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dagflow.channel.doorbell import Doorbell
from dagflow.completion import Completion
from dagflow.errors import RecordError
from dagflow.plugin import Source
from dagflow.processes.messages import Answer, Piece
from dagflow.processes.packing import pack_error, pack_record, unpack_record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic import BaseModel

    from dagflow.processes.desk import Desk
    from dagflow.processes.messages import Bring
    from dagflow.record import Outcome, Record


class FarSource(Source):
    """Brings the records that the parent took in, and takes their answers back."""

    resumable = True  # as far as a child is concerned: each has a key

    def __init__(self, options: BaseModel, cls: type[Source], name: str, desk: Desk) -> None:
        super().__init__(options)
        plugin = cls(options)
        for declared in ("finite", "can_cancel", "serves", "gives_back", "in_order"):
            setattr(self, declared, getattr(plugin, declared))
        self._name = name
        self._desk = desk
        self._waiting: deque[Record] = deque()
        self._live: dict[bytes, Record] = {}
        self._bell = Doorbell()
        self._is_exhausted = False
        self._forwarding: set[asyncio.Task[None]] = set()
        desk.sources[name] = self

    def take(self, brought: Bring) -> None:
        """Take a record that the parent sends; it sends no more than may be in flight."""
        record = unpack_record(brought.record)
        record.key, record.port = brought.key, brought.port
        self._live[brought.key] = record
        self._waiting.append(record)
        self._bell.ring()

    def cancel(self, key: bytes) -> None:
        """Have a record cancelled; one that waits here yet is cancelled as soon as it is accepted."""
        record = self._live.get(key)
        if record is not None and record.ticket is not None:
            record.ticket.cancel()
        elif record is not None:
            asyncio.get_running_loop().call_soon(self.cancel, key)

    def end(self) -> None:
        """Bring no more."""
        self._is_exhausted = True
        self._bell.ring()

    async def records(self) -> AsyncIterator[Record]:
        while self._waiting or not self._is_exhausted:
            if self._waiting:
                yield self._waiting.popleft()
            else:
                await self._bell.wait()

    def settle(self, record: Record, outcome: Outcome) -> None:
        self._live.pop(record.key, None)

    def on_answer(self, record: Record, answer: Record) -> None:
        live = [name for name, value in answer.items() if isinstance(value, Completion) and value.is_live]
        packed = pack_record(answer)
        for name in live:
            del packed.fields[name]
        self._desk.link.send(Answer(self._name, record.key, packed, live[0] if live else None))
        if live:
            task = asyncio.get_running_loop().create_task(self._forward(record.key, answer[live[0]]))
            self._forwarding.add(task)
            task.add_done_callback(self._forwarding.discard)

    async def close(self) -> None:
        for task in self._forwarding:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*self._forwarding, return_exceptions=True)

    async def _forward(self, key: bytes, completion: Any) -> None:
        link, fault = self._desk.link, None
        try:
            async for chunk in completion.chunks():
                link.send(Piece(self._name, key, chunk))
                await link.drained()
        except RecordError as error:
            fault = pack_error(error)
        link.send(Piece(self._name, key, None, fault))
