"""Tasks: how one is ended by who started it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

_AGAIN_S: Final = 0.1


async def end(task: asyncio.Future[Any]) -> None:
    """Cancel a task, and wait until it has ended; what it ends with is nobody's concern.

    `asyncio.wait_for` of Python 3.11 swallows a cancellation that comes together with what it waits for, so that one is
    not always enough for what calls libraries.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_AGAIN_S)
