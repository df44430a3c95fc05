"""Interruptions end the work that they are for, and never what the task does afterwards."""

from __future__ import annotations

import asyncio

import pytest

from dagflow.engine.interruption import _AGAIN_S, DueTimes, Interruption

pytestmark = pytest.mark.anyio


class Interrupted(Exception):
    """How the work of these tests ends."""


async def test_work_that_lets_go_slowly_is_not_armed_again():
    """A deadline that comes near meanwhile leaves no timer behind that cancels the next work of the task."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    interruption = Interruption(task, Interrupted, DueTimes(loop.time), None)

    async def work():
        with interruption:
            loop.call_soon(interruption)
            try:
                await asyncio.Event().wait()
            finally:
                interruption.arm(10.0)  # as a look at the times does

    with pytest.raises(Interrupted):
        await work()
    await asyncio.sleep(2 * _AGAIN_S)
    assert not task.cancelling()


async def test_work_that_interrupts_itself_and_ends_leaves_the_task_alone():
    """Before Python 3.13 a cancellation that has not come through cannot be taken back."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    interruption = Interruption(task, Interrupted, DueTimes(loop.time), None)
    with interruption:
        interruption()
    await asyncio.sleep(0)
    assert not task.cancelling()


async def test_work_that_interrupts_itself_and_waits_ends():
    """At the first wait that is one."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    interruption = Interruption(task, Interrupted, DueTimes(loop.time), None)

    async def work():
        with interruption:
            interruption()
            await asyncio.Event().wait()

    with pytest.raises(Interrupted):
        await work()
    await asyncio.sleep(0)
    assert not task.cancelling()
