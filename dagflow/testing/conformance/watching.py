"""Watching: what a piece of code asks of the operating system, told by the interpreter itself.

An audit hook cannot be taken off again. This one is put on once, looks at nothing while nobody
watches, and only at the thread that watches.
"""

from __future__ import annotations

import _socket
import os
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from types import FrameType

TOUCHES: Final = frozenset(
    (
        *("open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"),
        *("socket.__new__", "socket.connect", "socket.bind", "socket.getaddrinfo", "sqlite3.connect"),
        *("subprocess.Popen", "os.system", "_thread.start_new_thread"),
    )
)
"""Events of code that touches files, the network, processes or threads."""

BLOCKS: Final = frozenset((time.sleep, os.system, _socket.getaddrinfo, _socket.gethostbyname))
"""Functions that make their whole thread wait."""

_watch = threading.local()


@contextmanager
def watched_events(events: Collection[str]) -> Iterator[list[str]]:
    """Collect which of the events the block causes in this thread; what importing a module does is not counted."""
    _put_on()
    _watch.events, _watch.seen = events, []
    try:
        yield _watch.seen
    finally:
        _watch.events = ()


@contextmanager
def watched_calls(functions: Collection[Any]) -> Iterator[list[str]]:
    """Collect which of the functions, written in C, are called in this thread during the block."""
    seen: list[str] = []

    def profile(_frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and argument in functions:
            seen.append(f"{argument.__module__.lstrip('_')}.{argument.__name__}")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        yield seen
    finally:
        sys.setprofile(before)


def _put_on() -> None:
    if _hook not in _put:
        sys.addaudithook(_hook)
        _put.append(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event in getattr(_watch, "events", ()) and not _imports(sys._getframe(1)):
        _watch.seen.append(f"{event}({', '.join(map(repr, arguments[:1]))})")


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


_put: Final[list[Any]] = []
