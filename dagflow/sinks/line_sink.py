"""LineSink: what the sinks that write lines share."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from dagflow.plugin import Sink
from dagflow.sinks.lines import LineOptions

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from dagflow.plugin import Context
    from dagflow.record import Record
    from dagflow.sinks.live import LiveOutput
    from dagflow.sinks.output import Output


class LineSink(Sink):
    """Writes each record as one line, or its completion as it comes.

    A record is delivered when the operating system has all of it.
    """

    Options = LineOptions
    live_output: ClassVar[type[LiveOutput]]  # what `format = "stream"` writes
    _output: Output | None = None
    _live: LiveOutput | None = None

    @property
    def forwards_live(self) -> bool:  # type: ignore[override]
        return self.options.format == "stream"

    @property
    def resumable(self) -> bool:  # type: ignore[override]
        return self.options.format != "stream"

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
        if self.forwards_live:
            self._live = self.live_output(self._output)
            self.write = self._live.write  # type: ignore[method-assign]

    async def write(self, record: Record) -> None:
        waiting = self.put(self._encode(record))
        if waiting is not None:
            await waiting

    def put(self, line: bytes) -> Coroutine[Any, Any, None] | None:
        """Write a line that was made of a record; what has to wait is to be awaited."""
        return self._output.write(line)

    def position(self) -> dict[str, Any] | None:
        return self._output.position()

    async def flush(self) -> None:
        if self._live is not None:
            await self._live.end()
        await self._output.sync()

    async def close(self) -> None:
        if self._output is not None:
            self._output.close()
