"""Relay: a source that only the parent can read. Records go to the children, all of one session to the same one.

It is a `SourceRunner`, which accepts records and owns their tickets; behind it stand the children instead of edges.
Outcome, answer and chunks of a record come back over the link, and cancellation goes there. The books of the children
count its records; those of the relay only hold it back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from dagflow.completion import Completion
from dagflow.engine.book import Book
from dagflow.engine.mark import Mark
from dagflow.engine.place import NOWHERE
from dagflow.engine.postbox import Postbox
from dagflow.engine.source_runner import SourceRunner
from dagflow.errors import ProcessDied, RecordError
from dagflow.inference.call import Call
from dagflow.processes.endings import KEY_BYTES
from dagflow.processes.messages import PLENTY, Answer, Bring, Cancel, Exhausted, Piece, Settled
from dagflow.processes.packing import NOT_PACKED, blame, pack_error, pack_record, unpack_error, unpack_record
from dagflow.record import Outcome, Record, Ticket, UnreadableInput
from dagflow.shares import bucket_of
from dagflow.trail import Stay, Trail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagflow.engine.checkpointing import Checkpointing
    from dagflow.engine.faults import Faults
    from dagflow.graph.plan import NodePlan
    from dagflow.plugin import Source
    from dagflow.processes.member import Member
    from dagflow.processes.messages import Room

_NOTHING: Final = (None, None)


class Relay(SourceRunner):
    """One source, opened in the parent.

    Args:
        max_in_flight: how many of its records all children may have.

    Attributes:
        given_up: how many records it has cancelled itself, as no child had them any more.
    """

    def __init__(
        self,
        node: NodePlan,
        plugin: Source,
        members: Sequence[Member],
        faults: Faults,
        log: Any,
        max_in_flight: int,
        checkpoint: Checkpointing | None,
    ) -> None:
        outlets = {port: _Outlet(self) for port in (None, *node.ports)}
        book, postbox = Book(max_in_flight), Postbox(None, NOWHERE, node.name, node.name)
        given = (node, plugin, outlets, NOWHERE, postbox, book, faults, self._cancel_at, log)
        super().__init__(*given, None, checkpoint)  # type: ignore[arg-type]
        self._members = members
        self._numbers = count()
        self._flying: list[dict[bytes, tuple[Record, Mark]]] = [{} for _ in members]
        self._streams: dict[bytes, _Stream] = {}
        self._rooms: list[dict[str | None, int]] = [{} for _ in members]
        self._sent = [0] * len(members)
        self._turn = 0
        self.given_up = 0
        self.is_exhausted = False

    def exhaust(self) -> None:
        """Say that no more records come."""
        self.is_exhausted = True
        for member in self._members:
            member.link.send(Exhausted(self.plan.name))

    async def send(self, record: Record, port: str | None) -> None:
        """Send a record to a child."""
        index = self._index_of(record)
        record.port, mark = port, record.ticket.mark
        if mark is None:
            mark = Mark(self.plan.name, next(self._numbers).to_bytes(KEY_BYTES, "big"), record.id, None)
        record.key = mark.key
        self._flying[index][record.key] = record, mark
        self._bring(index, record)
        await self._members[index].link.drained()

    def room(self, record: Record) -> int:
        """How many records like this one would be taken now without waiting."""
        if record.session is not None:
            return self._room_at(self._bucket(record.session), record.port)
        return sum(self._room_at(index, record.port) for index in range(len(self._members)))

    def take_room(self, member: Member, room: Room) -> None:
        """Take note of how many records a child would take, after so many had come there."""
        sent_since = self._sent[member.index] - room.seen
        self._rooms[member.index] = {port: free - sent_since for port, free in room.free if free < PLENTY}

    def mark_of(self, member: Member, key: bytes) -> Mark | None:
        """Give what is known of a record that a child has."""
        return self._flying[member.index].get(key, _NOTHING)[1]

    def settled(self, member: Member, settled: Settled) -> None:
        """Take how a record ended."""
        record, _ = self._flying[member.index].pop(settled.key, _NOTHING)
        if record is None:
            return
        ticket, outcome = record.ticket, Outcome(settled.outcome)
        if not ticket.is_done(outcome):
            ticket.kept = settled.is_done
        ticket.end(outcome, None if settled.fault is None else unpack_error(settled.fault))

    def answered(self, member: Member, answer: Answer) -> None:
        """Hand an answer back; of a live one, chunks follow."""
        record, _ = self._flying[member.index].get(answer.key, _NOTHING)
        if record is None:
            return
        given, ticket = unpack_record(answer.record), record.ticket
        if answer.field is not None:
            stream = self._streams[answer.key] = _Stream()
            given[answer.field] = stream.completion
        ticket.trail = _trail(answer)
        ticket.reply(given)

    def streamed(self, piece: Piece) -> None:
        """Take a chunk of an answer, or its end."""
        stream = self._streams.get(piece.key)
        if stream is None:
            return
        if piece.chunk is None:
            del self._streams[piece.key]
        stream.take(piece)

    def resend(self, member: Member) -> None:
        """Send again what a child had that died, if it is wanted yet; an answer that has begun cannot begin anew."""
        self._sent[member.index] = 0
        flying = self._flying[member.index]
        for key, (record, _) in list(flying.items()):
            stream = self._streams.pop(key, None)
            if stream is not None:
                error = ProcessDied()
                stream.take(Piece(self.plan.name, key, None, pack_error(error)))
                del flying[key]
                record.ticket.end(Outcome.FAILED, error)
            elif record.ticket.cancelled:  # while there was nobody to tell
                del flying[key]
                self.given_up += 1
                record.ticket.end(Outcome.CANCELLED)
            else:
                self._bring(member.index, record)
        if self.is_exhausted:
            member.link.send(Exhausted(self.plan.name))

    def lose(self, member: Member) -> None:
        """End what a child had that died, and will have no successor."""
        flying, self._flying[member.index] = self._flying[member.index], {}
        self.given_up += len(flying)
        for record, _ in flying.values():
            record.ticket.end(Outcome.CANCELLED)

    def _bring(self, index: int, record: Record) -> None:
        member, name = self._members[index], self.plan.name
        if not member.takes_records:  # it is sent again once there is somebody
            return
        fault = pack_error(record.error) if isinstance(record, UnreadableInput) else None
        bring = Bring(name, record.key, pack_record(record), record.port, fault)
        self._sent[index] += 1
        room = self._rooms[index]
        if record.port in room:
            room[record.port] -= 1
        try:
            member.link.send(bring)
        except NOT_PACKED as error:
            bring.fault = pack_error(blame(record, error))
            bring.record.fields = {field: str(value) for field, value in record.items()}
            bring.record.meta = {}
            member.link.send(bring)

    async def _dispatch(self, record: Record) -> None:
        """Send all there, also what fails: children keep dead letters."""
        await self.send(record, record.port)

    def _index_of(self, record: Record) -> int:
        if record.session is not None:
            return self._bucket(record.session)
        self._turn = (self._turn + 1) % len(self._members)
        rooms = [self._room_at(index, record.port) for index in range(len(self._members))]
        # In turn, but not to one that is full while another is not.
        return self._turn if rooms[self._turn] > 0 else max(range(len(rooms)), key=lambda index: rooms[index])

    def _bucket(self, session: str) -> int:
        return bucket_of(session, len(self._members), "process")

    def _room_at(self, index: int, port: str | None) -> int:
        most = self._book.room
        return min(most, self._rooms[index].get(port, most))

    def _cancel_at(self, ticket: Ticket) -> None:
        key = getattr(ticket.record, "key", None)
        for member, flying in zip(self._members, self._flying, strict=True):
            if key in flying:
                member.link.send(Cancel(self.plan.name, key))


class _Outlet:
    """Stands for what a port leads to."""

    direct = None

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def room(self, record: Record) -> int:
        return self._relay.room(record)


class _Stream:
    """A live completion that is fed from afar."""

    def __init__(self) -> None:
        self.completion = Completion.live()
        self._pieces: deque[Piece] = deque()
        self._feeding: asyncio.Task[None] | None = None

    def take(self, piece: Piece) -> None:
        """Feed a piece in its turn."""
        self._pieces.append(piece)
        if self._feeding is None or self._feeding.done():
            self._feeding = asyncio.get_running_loop().create_task(self._feed())

    async def _feed(self) -> None:
        while self._pieces:
            piece = self._pieces.popleft()
            if piece.chunk is None:
                self.completion.finish(None if piece.fault is None else unpack_error(piece.fault))
            else:
                with suppress(RecordError):  # nobody reads it any more
                    await self.completion.feed(piece.chunk)


def _trail(answer: Answer) -> Trail:
    trail = Trail()
    trail.accepted_ns = answer.accepted_ns
    trail.stays = [Stay(*stay) for stay in answer.stays]
    for worker, arrived_s, started_s, ended_s in answer.calls:
        call = Call(None, arrived_s)
        call.started_s, call.ended_s = started_s, ended_s
        trail.calls.append((worker, call))
    return trail
