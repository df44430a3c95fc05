"""Claims: a file is written by one sink at a time, and not read meanwhile.

A claim is an advisory lock (`flock`) on the open file, so that it holds between the nodes of a
pipeline and between programs, through links and other names of the file, and ends with the
descriptor, however the program ends. Only regular files are claimed: pipes and devices may be
shared. Where a file system has no locks, nothing is claimed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from threading import Lock
from typing import TYPE_CHECKING

from dagflow.errors import PluginError

if TYPE_CHECKING:
    from pathlib import Path

_standard_input = Lock()  # the one thing of a whole program that a pipeline may name


def claim_standard_input() -> Lock:
    """Claim the standard input for one reader of this program; releasing the lock gives it back.

    Raises:
        PluginError: somebody reads it already; two would take lines from each other.
    """
    if not _standard_input.acquire(blocking=False):
        raise PluginError("the standard input is being read by another source; only one can")
    return _standard_input


def claim(fd: int, path: Path) -> None:
    """Claim an open file for writing, until its descriptor is closed.

    Raises:
        PluginError: somebody else writes or reads it.
    """
    _lock(fd, path, fcntl.LOCK_EX)


def check_unclaimed(fd: int, path: Path) -> None:
    """Check that nobody writes an open file.

    Raises:
        PluginError: somebody does.
    """
    _lock(fd, path, fcntl.LOCK_SH)


def _lock(fd: int, path: Path, kind: int) -> None:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise PluginError(f"`{path}` is being written by another node or another run") from None
