"""LineSink: what the sinks that write lines share."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from dagflow.plugin import Sink
from dagflow.sinks.lines import LineOptions

if TYPE_CHECKING:
    from dagflow.plugin import Context
    from dagflow.record import Record
    from dagflow.sinks.output import Output


class LineSink(Sink):
    """Writes each record as one line. A record is delivered when the operating system has its line."""

    Options = LineOptions
    _output: Output | None = None

    @abstractmethod
    async def build_output(self) -> Output:
        """Open what the lines go to."""

    def reads(self) -> set[str]:
        return self.options.reads()

    def reads_any(self) -> list[set[str]]:
        return self.options.reads_any()

    def writes(self) -> set[str]:
        return set()

    async def open(self, context: Context) -> None:
        await super().open(context)
        self._encode = self.options.build_encoder()
        self._output = await self.build_output()

    async def write(self, record: Record) -> None:
        waiting = self._output.write(self._encode(record))
        if waiting is not None:
            await waiting

    async def flush(self) -> dict[str, Any] | None:
        return await self._output.sync()

    async def close(self) -> None:
        if self._output is not None:
            self._output.close()
