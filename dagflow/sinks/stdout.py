"""Sink `stdout`: prints records on the standard output, one line each, or their answers as they come."""

from __future__ import annotations

import io
import sys

from dagflow.sinks.line_sink import LineSink
from dagflow.sinks.live import TextStream
from dagflow.sinks.output import Output, TextOutput, build_output


class Stdout(LineSink):
    """Prints each record as a line of JSON, or as the text of `template`; or the text of its answer as it comes."""

    live_output = TextStream

    async def build_output(self) -> Output:
        sys.stdout.flush()  # what was printed before stays before
        try:
            return build_output(sys.stdout.fileno(), "stdout", owned=False)
        except io.UnsupportedOperation:
            return TextOutput(sys.stdout)

    def position(self) -> None:
        return None

    async def flush(self) -> None:
        """End a line that was cut off. What is written is out, and a later run prints from its own beginning."""
        if self._live is not None:
            await self._live.end()
