"""Work that was run up to its first wait goes on as if it had been awaited all the time."""

import asyncio
import contextlib
from typing import Any

import pytest

from dagflow.engine.first_step import resume

EVENTS: list[str] = []


async def work(gate: asyncio.Future[int]) -> int:
    """Wait twice, and tell how it was ended."""
    try:
        found = await gate
        await asyncio.sleep(0)
        return found + 1
    except asyncio.CancelledError:
        EVENTS.append("cancelled")
        raise
    finally:
        EVENTS.append("over")


async def begun(gate: asyncio.Future[int]) -> Any:
    """Run the work up to its first wait, then go on with it."""
    one = work(gate)
    return await resume(one, one.send(None))


@pytest.fixture(autouse=True)
def _fresh() -> None:
    EVENTS.clear()


def test_result() -> None:
    """Its result comes through, over several waits."""

    async def main() -> None:
        gate = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(begun(gate))
        await asyncio.sleep(0)
        gate.set_result(41)
        assert await task == 42

    asyncio.run(main())
    assert EVENTS == ["over"]


def test_error_of_what_it_waits_for() -> None:
    """An error of what it waits for is raised inside it, with a traceback that leads there."""

    async def main() -> None:
        gate = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(begun(gate))
        await asyncio.sleep(0)
        gate.set_exception(ValueError("no"))
        with pytest.raises(ValueError, match="no") as caught:
            await task
        assert "work" in [entry.name for entry in caught.traceback]

    asyncio.run(main())
    assert EVENTS == ["over"]


def test_cancellation() -> None:
    """A cancellation is raised inside it, and what it makes of that counts."""

    async def main() -> None:
        task = asyncio.ensure_future(begun(asyncio.get_running_loop().create_future()))
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(main())
    assert EVENTS == ["cancelled", "over"]


def test_close() -> None:
    """Closed from outside, it ends at once."""

    async def main() -> None:
        outer = begun(asyncio.get_running_loop().create_future())
        outer.send(None)
        outer.close()

    asyncio.run(main())
    assert EVENTS == ["over"]
