"""FarSource: stands in a child for a source that the parent reads."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from dagflow.channel.doorbell import Doorbell
from dagflow.completion import Completion
from dagflow.errors import RecordError
from dagflow.plugin import Source
from dagflow.processes.messages import PLENTY, Answer, Piece, Room
from dagflow.processes.packing import pack_error, pack_record, unpack_error, unpack_record
from dagflow.record import Record, UnreadableInput

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic import BaseModel

    from dagflow.processes.desk import Desk
    from dagflow.processes.messages import Bring
    from dagflow.record import Outcome


_TELL_EVERY_S: Final = 0.001


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
        self._handed_in = asyncio.Event()
        self._handed_in.set()
        self._is_exhausted = False
        self._forwarding: set[asyncio.Task[None]] = set()
        self._seen = 0
        self._told: list[tuple[str | None, int]] = []
        self._is_telling = False
        self._ports = (None, *plugin.ports())
        desk.sources[name] = self

    def take(self, brought: Bring) -> None:
        """Take a record that the parent sends; it sends no more than may be in flight."""
        record = unpack_record(brought.record)
        if brought.fault is not None:
            record = UnreadableInput(unpack_error(brought.fault), record, record.id)
        record.key, record.port = brought.key, brought.port
        self._live[brought.key] = record
        self._seen += 1
        self._waiting.append(record)
        self._handed_in.clear()
        self._bell.ring()
        self._tell_soon()

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

    async def wait_handed_in(self) -> None:
        """Wait until everything that the parent sent has been handed in."""
        await self._handed_in.wait()

    async def records(self) -> AsyncIterator[Record]:
        while self._waiting or not self._is_exhausted:
            if self._waiting:
                yield self._waiting.popleft()
            else:
                self._handed_in.set()
                await self._bell.wait()

    def settle(self, record: Record, outcome: Outcome) -> None:
        self._live.pop(record.key, None)
        self._tell_soon()

    def _tell_soon(self) -> None:
        """Tell how much room there is, once in a while: who serves asks for it at its door."""
        if self.serves and not self._is_telling:
            self._is_telling = True
            asyncio.get_running_loop().call_later(_TELL_EVERY_S, self._tell_room)

    def _tell_room(self) -> None:
        self._is_telling = False
        free = []
        for port in self._ports:
            asked = Record()
            asked.port = port
            free.append((port, min(self.context.room(asked) - len(self._waiting), PLENTY)))
        if free != self._told:
            self._told = free
            self._desk.link.send(Room(self._name, self._seen, free))
            self._tell_soon()

    def on_answer(self, record: Record, answer: Record) -> None:
        live = [name for name, value in answer.items() if isinstance(value, Completion) and value.is_live]
        packed = pack_record(answer)
        for name in live:
            del packed.fields[name]
        message = Answer(self._name, record.key, packed, live[0] if live else None)
        trail = record.ticket.trail
        if trail is not None:
            message.accepted_ns, message.stays = trail.accepted_ns, list(trail.stays)
            message.calls = [(name, call.arrived_s, call.started_s, call.ended_s) for name, call in trail.calls]
        self._desk.link.send(message)
        if live:
            task = asyncio.get_running_loop().create_task(self._forward(record.key, answer[live[0]]))
            self._forwarding.add(task)
            task.add_done_callback(self._forwarding.discard)

    async def close(self) -> None:
        if self._forwarding:  # their streams have ended; the chunks are on their way
            await asyncio.wait(self._forwarding)

    async def _forward(self, key: bytes, completion: Completion) -> None:
        link, fault = self._desk.link, None
        try:
            async for chunk in completion.chunks():
                link.send(Piece(self._name, key, chunk))
                await link.drained()
        except RecordError as error:
            fault = pack_error(error)
        link.send(Piece(self._name, key, None, fault))
