"""FarSink: stands in a child for a sink of the parent."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from dagflow.plugin import Sink
from dagflow.processes.packing import NOT_PACKED, blame, pack_record
from dagflow.sinks.line_sink import LineSink

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel

    from dagflow.plugin import Context
    from dagflow.processes.desk import Desk
    from dagflow.record import Record

EDGE: ContextVar[str] = ContextVar("EDGE", default="")
"""The edge by which a slot's record came."""


class FarSink(Sink):
    """Sends records to the sink of the parent; lines are made here, which is most of the work."""

    def __init__(self, options: BaseModel, cls: type[Sink], desk: Desk) -> None:
        super().__init__(options)
        self._desk = desk
        self._makes_lines = issubclass(cls, LineSink) and cls.write is LineSink.write and options.format != "stream"  # type: ignore[attr-defined]
        self._make: Callable[[Record], Any] = pack_record

    async def open(self, context: Context) -> None:
        await super().open(context)
        if self._makes_lines:
            self._make = self.options.build_encoder()

    async def write(self, record: Record) -> None:
        mark: Any = None if record.ticket is None else record.ticket.mark
        origin, rest = (None, "") if mark is None else (mark.origin, mark.rest(record))
        try:
            await self._desk.write(self.context.name, origin, EDGE.get(), rest, self._make(record))
        except NOT_PACKED as error:
            raise blame(record, error) from error

    def position(self) -> None:
        """Give none: it is the parent's."""
