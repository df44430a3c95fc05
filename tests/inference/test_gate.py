"""The gate: one line for all guards, the most urgent first, nothing lost when somebody leaves."""

from __future__ import annotations

import asyncio

import pytest
from desk import Desk, tenant

from dagflow.errors import WorkerError

pytestmark = pytest.mark.anyio


async def settled():
    """Let all tasks run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def waiting(desk, *arguments, **settings):
    """Let a call wait at a desk; give it and its task."""
    call = desk.call(*arguments, **settings)
    assert not desk.gate.enter_nowait(call)
    task = asyncio.ensure_future(desk.gate.wait_entered(call))
    await asyncio.sleep(0)
    return call, task


async def test_the_most_urgent_goes_first_and_of_equals_the_first():
    """Whatever the order of their coming."""
    desk = Desk(max_in_flight=1)
    busy = desk.enter()
    calls = [await waiting(desk, priority=priority) for priority in (0, 5, 1, 5)]
    order = []
    for _ in calls:
        desk.end(busy)
        await settled()
        [(busy, index)] = [(call, i) for i, (call, task) in enumerate(calls) if task.done() and i not in order]
        order.append(index)
    assert order == [1, 3, 2, 0]


async def test_waiting_makes_important():
    """Ten seconds count as much as one priority more, so that nobody starves."""
    desk = Desk(max_in_flight=1)
    busy = desk.enter()
    old, told = await waiting(desk, priority=0)
    desk.clock.advance(31)
    await waiting(desk, priority=3)
    desk.end(busy)
    await settled()
    assert told.done()
    assert old.started_s is not None


async def test_who_comes_later_does_not_overtake():
    """Also where a guard would let a small call pass before a large one."""
    desk = Desk(limits=[{"tokens": "1k tokens/min"}])
    desk.end(desk.enter(max_tokens=1), tokens=(900, 0))
    await waiting(desk, "x" * 2000)
    assert desk.enter(max_tokens=1) is None


async def test_who_waits_for_its_own_key_lets_others_pass():
    """A tenant that has used up its limit holds nobody up but itself."""
    desk = Desk(max_in_flight=2, limits=[{"requests": "1/min", "key": "meta.tenant"}])
    first, second = desk.enter(record=tenant("a")), desk.enter(record=tenant("b"))
    held = [await waiting(desk, record=tenant("a")) for _ in range(2)]
    _, free = await waiting(desk, record=tenant("c"))
    desk.end(first)
    await settled()
    assert free.done()
    assert not any(task.done() for _, task in held)
    desk.end(second)
    await settled()
    assert desk.gate.waiting == 2
    for _, task in held:
        task.cancel()


async def test_a_timer_lets_in_who_waits_for_a_window():
    """Nobody has to end for it."""
    desk = Desk(limits=[{"requests": "1/s"}])
    desk.ask()
    _, task = await waiting(desk)
    desk.clock.advance(1.1)
    await asyncio.wait_for(task, 10)  # the timer's second passes in real time


async def test_who_waits_is_told_that_it_may_not():
    """A breaker that opens meanwhile turns the whole line away."""
    desk = Desk(max_in_flight=1, breaker={"failures": 1, "calls": 1})
    busy = desk.enter()
    tasks = [(await waiting(desk))[1] for _ in range(3)]
    desk.end(busy, "timeout")
    await settled()
    for task in tasks:
        with pytest.raises(WorkerError, match="breaker"):
            await task
    assert desk.gate.waiting == 0


async def test_one_probe_also_from_the_line():
    """Of those that wait when the breaker is half open, one is let in, and the others are turned away."""
    desk = Desk(max_in_flight=2, breaker={"failures": 1, "calls": 1, "cooldown": "1s"})
    first, second = desk.enter(), desk.enter()
    tasks = [(await waiting(desk))[1] for _ in range(3)]
    desk.end(first, "timeout", took_s=0.5)
    await settled()
    assert all(task.done() and task.exception() for task in tasks)
    desk.clock.advance(1)
    desk.end(second)
    probe = desk.enter()
    assert probe is not None
    with pytest.raises(WorkerError):
        desk.enter()


async def test_who_leaves_the_line_takes_nothing_along():
    """Cancelled while waiting, or in the same moment as it was let in: the permit goes to the next."""
    desk = Desk(max_in_flight=1)
    busy = desk.enter()
    _, leaving = await waiting(desk)
    _, late = await waiting(desk)
    _, last = await waiting(desk)
    leaving.cancel()
    await settled()
    desk.end(busy)
    late.cancel()
    await settled()
    assert last.done()
    assert not last.cancelled()
    assert desk.state("concurrency") == {"limit": 1, "busy": 1}


async def test_who_leaves_as_it_is_let_in_is_no_answer():
    """The adaptive limit learns no latency from it, and a breaker takes it for no proof of health."""
    desk = Desk(adaptive={"max": 1}, breaker={"failures": 1, "calls": 1})
    busy = desk.enter()
    call, leaving = await waiting(desk)
    desk.clock.advance(5)
    desk.end(busy)
    leaving.cancel()
    await settled()
    assert call.error == "cancelled"
    assert desk.guard("concurrency")._answers == 1
    assert desk.state("breaker")["failures"] == 0


async def test_who_leaves_lets_others_pass():
    """A large call that waits for tokens holds small ones up only as long as it is there."""
    desk = Desk(limits=[{"tokens": "1k tokens/min"}])
    desk.end(desk.enter(max_tokens=1), tokens=(900, 0))
    _, large = await waiting(desk, "x" * 2000)
    _, small = await waiting(desk, max_tokens=10)
    large.cancel()
    await settled()
    assert small.done()


async def test_room_is_told():
    """When nobody waits any more, or only for limits of its own."""
    desk = Desk(max_in_flight=1)
    busy = desk.enter()
    call, task = await waiting(desk)
    _, second = await waiting(desk)
    desk.end(busy)
    assert desk.rooms == 0
    await task
    second.cancel()
    await settled()
    assert desk.rooms == 1
    desk.end(call)
    assert desk.rooms == 2


async def test_room_is_told_behind_who_waits_for_its_own_key():
    """It is no room for that one, but may be for others; and what others would wait says the same."""
    desk = Desk(limits=[{"requests": "1/min", "key": "meta.tenant"}])
    desk.end(desk.enter(record=tenant("a")))
    _, held = await waiting(desk, record=tenant("a"))
    assert desk.gate.look(desk.call(record=tenant("b"))) == 0
    assert desk.gate.look(desk.call(record=tenant("a"))) > 0
    call, _ = await waiting(desk, record=tenant("b"))
    rooms = desk.rooms
    desk.end(call)
    assert desk.rooms == rooms + 1
    held.cancel()
    await settled()
    assert desk.rooms == rooms + 2
