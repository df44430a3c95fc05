"""Server-sent events: bytes as they come from the network, to the data of whole events.

After the WHATWG's specification of event streams: lines end with LF, CRLF or CR; comments and fields other than
`data` mean nothing here. Only whole lines are looked at, so that it does not matter where the network cuts, be it
within a character. What a reader holds back is bounded.
"""

from __future__ import annotations

from typing import Final

LONGEST: Final = 16 * 1024**2  # bytes of an event; a whole answer fits in many times over
_BOM: Final = b"\xef\xbb\xbf"


class EventTooLong(Exception):
    """An event is longer than `LONGEST` bytes."""


class EventReader:
    """Reads one stream: `feed` with what came, then `end`."""

    __slots__ = ("_begun", "_data", "_held", "_held_bytes", "_skips_lf")

    def __init__(self) -> None:
        self._held: list[bytes] = []  # the parts of a line that has not ended yet
        self._held_bytes = 0  # those of the line, and of the event's data before it
        self._data: list[bytes] = []  # the data lines of an event that has not ended yet
        self._skips_lf = False  # a CR ended the last line, and an LF would belong to it
        self._begun = False

    def feed(self, block: bytes) -> list[bytes]:
        """Take what came and give the data of each event that has ended with it.

        Raises:
            EventTooLong: what has to be held back is too long.
        """
        if self._skips_lf and block:
            self._skips_lf = False
            block = block.removeprefix(b"\n")
        if b"\r" in block:
            self._skips_lf = block.endswith(b"\r")
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in block:
            self._hold(block)
            return []
        if self._held:
            block = b"".join((*self._held, block))
        *lines, rest = block.split(b"\n")
        if not self._begun:
            self._begun = True
            lines[0] = lines[0].removeprefix(_BOM)
        events = self._events_of(lines)
        self._held, self._held_bytes = [], sum(map(len, self._data)) + len(self._data)
        self._hold(rest)
        return events

    def end(self) -> list[bytes]:
        """Give the data of an event that the end of the stream ends, which some servers leave to it."""
        return self.feed(b"\n\n")

    def _hold(self, part: bytes) -> None:
        if part:
            self._held.append(part)
            self._held_bytes += len(part)
        if self._held_bytes > LONGEST:
            raise EventTooLong

    def _events_of(self, lines: list[bytes]) -> list[bytes]:
        events, data = [], self._data
        for line in lines:
            if not line:
                if data:
                    events.append(data[0] if len(data) == 1 else b"\n".join(data))
                    data.clear()
            elif line.startswith(b"data: "):
                data.append(line[6:])
            elif line.startswith(b"data:"):
                data.append(line[5:])
            elif line == b"data":
                data.append(b"")
        return events
