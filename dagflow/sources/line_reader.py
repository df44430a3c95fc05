"""LineReader: makes a record of each line of one file."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dagflow.errors import UnreadableRecord
from dagflow.record import Record, UnreadableInput
from dagflow.shares import WHOLE, Share
from dagflow.sources.formats import (
    BATCH_FIELDS,
    fill_from_batch,
    is_batch_line,
    records_format,
    take_id,
    take_rest,
)
from dagflow.units import render_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagflow.sources.formats import Format, Object

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class LineReader:
    """Reads the lines of one file in turn; counts them, and settles the file's format at the first object."""

    def __init__(
        self, options: Any, place: str, id_prefix: str, clock: Callable[[], float], share: Share = WHOLE
    ) -> None:
        self._share = share
        self._options = options
        self._place = place
        self._id_prefix = id_prefix
        self._clock = clock
        self._number = 0
        self._fill: Format | None = None

    def read(self, line: bytes | None) -> Record | None:
        """Make a record of a line; None where it is blank, or not of this share.

        A line of None was too long to be read.
        """
        self._number += 1
        key = blake2b(b"" if line is None else line, digest_size=16).digest()
        share = self._share
        if not (share.is_all or share.by_session or share.takes(key)) and self._fill is not None:
            return None
        record = self._read(line)
        if record is None or not (share.is_all or share.takes(key, record.session)):
            return None
        record.key = key
        return record

    def _read(self, line: bytes | None) -> Record | None:
        if line is None:
            return self._unreadable(f"longer than `max_line` ({render_size(self._options.max_line)})")
        if self._number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line or line.isspace():
            return None
        record = Record((), f"{self._id_prefix}:{self._number}")
        try:
            value = _decode(line)
            fill = self._fill or self._choose_format(value)  # before the id is taken out, which it looks for
            take_id(value, record)
            fill(value, record)
            take_rest(value, record, self._clock)
        except (ValueError, RecursionError) as error:
            return self._unreadable(_reason(error), line, record.id)
        return record

    def _choose_format(self, value: Object) -> Format:
        declared = self._options.format
        # Whoever asks for other fields than a batch line gives wants the plain object.
        wants_batch = BATCH_FIELDS.issuperset(self._options.fields)
        if declared == "openai-batch" or (declared == "auto" and wants_batch and is_batch_line(value)):
            self._fill = fill_from_batch
        else:
            self._fill = records_format(self._options.fields)
        return self._fill

    def _unreadable(self, reason: str, line: bytes = b"", id: str | None = None) -> UnreadableInput:
        error = UnreadableRecord(f"{self._place}:{self._number}", reason)
        fields = {"line": line.decode(errors="replace")} if line else {}
        return UnreadableInput(error, fields, id or f"{self._id_prefix}:{self._number}")


def _reason(error: Exception) -> str:
    if isinstance(error, msgspec.ValidationError):
        text = str(error).replace("Expected `object`, got ", "expected an object on each line, but found ")
        return text[:1].lower() + text[1:]
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if isinstance(error, msgspec.DecodeError):
        whole = "; an object must stand on one line" if "truncated" in str(error) else ""
        return f"not JSON: {error}{whole}"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error)
