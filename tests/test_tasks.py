"""Tasks that are ended by who started them."""

from __future__ import annotations

import asyncio

import pytest

from dagflow.tasks import end

pytestmark = pytest.mark.anyio


async def test_one_that_swallows_a_cancellation_ends_too():
    """As what waits with `asyncio.wait_for` of Python 3.11 does now and then."""
    started, swallowed = asyncio.Event(), []

    async def stubborn():
        started.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            swallowed.append(True)
        await asyncio.sleep(3600)

    task = asyncio.create_task(stubborn())
    await started.wait()
    await end(task)
    assert swallowed == [True]
    assert task.cancelled()


async def test_one_that_has_ended_is_left_as_it_is():
    """Its result stays."""

    async def answer():
        return 42

    task = asyncio.create_task(answer())
    await task
    await end(task)
    assert task.result() == 42


async def test_what_it_has_to_do_at_its_end_is_waited_for():
    """It is not over before its own `finally` is."""
    started, done = asyncio.Event(), []

    async def careful():
        try:
            started.set()
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            done.append(True)

    task = asyncio.create_task(careful())
    await started.wait()
    await end(task)
    assert done == [True]
