"""Doorbell: who is woken, by which ring."""

import asyncio
import contextlib

from dagflow.channel.doorbell import Doorbell


async def woken(bell: Doorbell, count: int) -> tuple[list[int], list[asyncio.Task[None]]]:
    """Have so many wait at a bell; gives the list of those who woke, which grows."""
    order: list[int] = []

    async def one(index: int) -> None:
        await bell.wait()
        order.append(index)

    tasks = [asyncio.ensure_future(one(index)) for index in range(count)]
    await asyncio.sleep(0)
    return order, tasks


async def end(tasks: list[asyncio.Task[None]]) -> None:
    """End those who wait still."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_each_ring_wakes_one() -> None:
    """Two rings wake two, in the order of their arrival."""

    async def main() -> None:
        bell = Doorbell()
        order, tasks = await woken(bell, 3)
        bell.ring()
        bell.ring()
        await asyncio.sleep(0)
        assert order == [0, 1]
        await end(tasks)

    asyncio.run(main())


def test_rouse_wakes_one_at_a_time() -> None:
    """While one is on the way nobody else is roused; after it the next one is."""

    async def main() -> None:
        bell = Doorbell()
        order, tasks = await woken(bell, 3)
        bell.rouse()
        bell.rouse()
        await asyncio.sleep(0)
        assert order == [0]
        bell.rouse()
        await asyncio.sleep(0)
        assert order == [0, 1]
        await end(tasks)

    asyncio.run(main())


def test_who_is_cancelled_on_the_way_rouses_the_next() -> None:
    """A rouse is not lost with the one that it woke."""

    async def main() -> None:
        bell = Doorbell()
        order, tasks = await woken(bell, 2)
        bell.rouse()
        tasks[0].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await tasks[0]
        await asyncio.sleep(0)
        assert order == [1]
        order_then, more = await woken(bell, 1)
        bell.rouse()
        await asyncio.sleep(0)
        assert order_then == [0]
        await end(more)

    asyncio.run(main())
