"""First step: runs work up to where it waits, and makes it possible to go on from there.

Most calls of a pipeline end without ever having waited. What could stop them must only be built for the others.
"""

from __future__ import annotations

from types import coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator


@coroutine
def resume(work: Coroutine[Any, Any, Any], awaited: Any) -> Generator[Any, Any, Any]:
    """Go on with work that has yielded `awaited`; gives what it returns."""
    while True:
        try:
            given = yield awaited
            step = work.send
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:
            given, step = error, work.throw
        try:
            awaited = step(given)
        except StopIteration as end:
            return end.value
        finally:
            given = None  # else an error and this frame would keep each other
