"""Standard streams: made safe before a command does anything, and how documents are printed on them.

What is meant for people takes the encoding of the terminal; a document that programs read (TOML,
JSON, DOT) is UTF-8 everywhere.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Final

# As the C library does it for privileged programs: reading or writing what was closed is an error, not a
# success. Only what is told on standard error is told to nobody.
_STAND_INS: Final = {0: os.O_WRONLY, 1: os.O_RDONLY, 2: os.O_RDWR}


def prepare_streams() -> None:
    """Fill the places of closed descriptors, and let no character fail that a terminal cannot show.

    The next file that is opened would take the number of a closed one, and get what is meant for it;
    uvloop would end the process.
    """
    for fd, mode in _STAND_INS.items():
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, mode)  # gets the lowest free number, which is this one
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_document(text: str) -> None:
    """Print a document on standard output, or end the program with code 1, saying why it can't be.

    Raises:
        BrokenPipeError: whoever read it has left, who need not be told.
    """
    try:
        sys.stdout.flush()  # what was printed before stays before
        sys.stdout.buffer.write(text.encode(errors="replace"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"error: standard output could not be written: {error.strerror}", file=sys.stderr)
        # What is still buffered would fail once more at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise SystemExit(1) from None
