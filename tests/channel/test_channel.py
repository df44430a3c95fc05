"""The channel: capacity, waiting, closing, lateness; exact counts."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from dagflow.errors import EndOfStream, WouldBlock
from dagflow.record import Outcome

pytestmark = pytest.mark.anyio


def books(channel):
    """The books as a tuple: offered, taken, shed, expired, cancelled, buffered."""
    s = channel.statistics()
    assert s.offered == s.taken + s.shed + s.expired + s.cancelled + s.buffered
    return s.offered, s.taken, s.shed, s.expired, s.cancelled, s.buffered


def take_all(channel):
    """Ids of all that can be received now."""
    ids = []
    while True:
        try:
            ids.append(channel.receive_nowait().id)
        except (WouldBlock, EndOfStream):
            return ids


async def test_hands_out_in_order_what_it_took_in(rig):
    """Records come out first in, first out."""
    channel = rig.channel(capacity=3)
    for name in "abc":
        channel.send_nowait(rig.record(name))
    assert take_all(channel) == ["a", "b", "c"]
    assert books(channel) == (3, 3, 0, 0, 0, 0)
    assert channel.statistics().max_depth == 3


async def test_a_full_blocking_channel_refuses_without_counting(rig):
    """`send_nowait` on a full channel raises, and the record stays the caller's."""
    channel = rig.channel(capacity=1)
    channel.send_nowait(rig.record("a"))
    with pytest.raises(WouldBlock):
        channel.send_nowait(rig.record("b"))
    assert books(channel) == (1, 0, 0, 0, 0, 1)


async def test_exactly_as_many_senders_wait_as_do_not_fit(rig):
    """With capacity 2 and five senders, three wait; each taken record lets one in, in order."""
    channel = rig.channel(capacity=2)
    async with anyio.create_task_group() as tasks:
        for name in "abcde":
            tasks.start_soon(channel.send, rig.record(name))
        await wait_all_tasks_blocked()
        assert channel.statistics().waiting_senders == 3
        assert channel.receive_nowait().id == "a"
        assert channel.statistics().waiting_senders == 2
        assert channel.statistics().buffered == 2
        assert take_all(channel) == ["b", "c", "d", "e"]
    assert books(channel) == (5, 5, 0, 0, 0, 0)
    assert channel.statistics().max_depth == 2


async def test_nobody_overtakes_a_waiting_sender(rig):
    """While a sender waits, `send_nowait` would block even if there were room for a moment."""
    channel = rig.channel(capacity=1)
    channel.send_nowait(rig.record("a"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(channel.send, rig.record("b"))
        await wait_all_tasks_blocked()
        assert channel.receive_nowait().id == "a"
        with pytest.raises(WouldBlock):
            channel.send_nowait(rig.record("c"))
    assert take_all(channel) == ["b"]


async def test_a_cancelled_sender_ends_its_record(rig):
    """A sender that is cancelled while it waits has handed its record over: it is lost as cancelled."""
    channel = rig.channel(capacity=1)
    channel.send_nowait(rig.record("a"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(channel.send, rig.record("b"))
        await wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert rig.lost == [("b", Outcome.CANCELLED, "cancelled")]
    assert books(channel) == (2, 0, 0, 0, 1, 1)
    channel.receive_nowait()
    channel.send_nowait(rig.record("c"))
    assert take_all(channel) == ["c"]


async def test_a_sender_admitted_and_then_cancelled_is_not_lost(rig):
    """If the record went in before its sender was cancelled, it is received, once."""
    channel = rig.channel(capacity=1)
    channel.send_nowait(rig.record("a"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(channel.send, rig.record("b"))
        await wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        channel.receive_nowait()
    assert sorted(take_all(channel) + [id for id, *_ in rig.lost]) == ["b"]
    s = channel.statistics()
    assert s.offered == s.taken + s.cancelled == 2


async def test_block_timeout_sheds_the_waiting_record(rig):
    """A record whose sender waited longer than `block_timeout` is shed, and the sender goes on."""
    channel = rig.channel(capacity=1, block_timeout_s=0.001)
    channel.send_nowait(rig.record("a"))
    await channel.send(rig.record("b"))
    assert rig.lost == [("b", Outcome.SHED, "block_timeout")]
    assert books(channel) == (2, 0, 1, 0, 0, 1)
    channel.receive_nowait()
    await channel.send(rig.record("c"))
    assert take_all(channel) == ["c"]


async def test_receivers_wait_and_are_woken_one_for_each_record(rig):
    """Two records wake two of three waiting receivers."""
    channel = rig.channel(capacity=5)
    got = []

    async def receive():
        got.append((await channel.receive()).id)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(receive)
        await wait_all_tasks_blocked()
        channel.send_nowait(rig.record("a"))
        channel.send_nowait(rig.record("b"))
        await wait_all_tasks_blocked()
        assert got == ["a", "b"]
        tasks.cancel_scope.cancel()
    assert books(channel) == (2, 2, 0, 0, 0, 0)


async def test_a_woken_receiver_that_is_cancelled_passes_its_turn_on(rig):
    """A wake-up is not lost with the receiver that it was meant for."""
    channel = rig.channel(capacity=5)
    first = asyncio.ensure_future(channel.receive())
    second = asyncio.ensure_future(channel.receive())
    await wait_all_tasks_blocked()
    channel.send_nowait(rig.record("a"))  # wakes the first
    first.cancel()
    record = await second
    assert first.cancelled()
    assert record.id == "a"


async def test_a_closed_channel_gives_the_rest_and_then_ends(rig):
    """After `close`, what is buffered can be received; then `EndOfStream`; nothing goes in."""
    channel = rig.channel(capacity=2)
    channel.send_nowait(rig.record("a"))
    channel.close()
    channel.close()
    with pytest.raises(EndOfStream):
        channel.send_nowait(rig.record("b"))
    assert not channel.is_ended
    assert (await channel.receive()).id == "a"
    assert channel.is_ended
    with pytest.raises(EndOfStream):
        await channel.receive()


async def test_closing_wakes_all_receivers(rig):
    """Receivers that wait learn that nothing will come."""
    channel = rig.channel()
    ended = []

    async def receive():
        with pytest.raises(EndOfStream):
            await channel.receive()
        ended.append(True)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(receive)
        await wait_all_tasks_blocked()
        channel.close()
    assert ended == [True] * 3


async def test_a_passed_deadline_expires_when_its_turn_comes(rig):
    """Records whose deadline passed are skipped and counted as expired."""
    channel = rig.channel()
    channel.send_nowait(rig.record("a", deadline=5.0))
    channel.send_nowait(rig.record("b", deadline=6.0))
    rig.now = 5.0
    assert take_all(channel) == ["b"]
    assert rig.lost == [("a", Outcome.EXPIRED, "deadline")]
    assert books(channel) == (2, 1, 0, 1, 0, 0)


async def test_max_wait_sheds_what_waited_longer(rig):
    """`max_wait` is a bound that a record may just reach."""
    channel = rig.channel(max_wait_s=2.0)
    channel.send_nowait(rig.record("a"))
    rig.now = 0.5
    channel.send_nowait(rig.record("b"))
    rig.now = 2.5
    assert take_all(channel) == ["b"]
    assert rig.lost == [("a", Outcome.SHED, "max_wait")]
    assert channel.statistics().shed_reasons == {"max_wait": 1}


async def test_max_bytes_bounds_the_payload(rig):
    """A channel is full when its bytes are, whatever its capacity; taking makes room again."""
    record = rig.record("a")
    channel = rig.channel(max_bytes=2 * 13)  # {"input":"a"} is 13 bytes
    channel.send_nowait(record)
    channel.send_nowait(rig.record("b"))
    assert channel.statistics().buffered_bytes == 26
    with pytest.raises(WouldBlock):
        channel.send_nowait(rig.record("c"))
    channel.receive_nowait()
    assert channel.statistics().buffered_bytes == 13
    channel.send_nowait(rig.record("c"))
    assert take_all(channel) == ["b", "c"]
    assert channel.statistics().buffered_bytes == 0


async def test_a_record_that_can_never_fit_is_shed_at_once(rig):
    """A record larger than `max_bytes` would wait for ever: it is shed and says why."""
    channel = rig.channel(max_bytes=5)
    await channel.send(rig.record("a"))
    assert rig.lost == [("a", Outcome.SHED, "too_large")]
    assert books(channel) == (1, 0, 1, 0, 0, 0)


async def test_cancelling_a_ticket_takes_its_records_out_and_lets_senders_in(rig):
    """Buffered and waiting records of one ticket go; a waiting sender of another moves up."""
    channel = rig.channel(capacity=1)
    mine, also_mine, other = rig.record("a"), rig.record("b"), rig.record("c")
    also_mine.ticket = mine.ticket
    channel.send_nowait(mine)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(channel.send, also_mine)
        tasks.start_soon(channel.send, other)
        await wait_all_tasks_blocked()
        channel.cancel(mine.ticket)
    assert sorted(rig.lost) == [("a", Outcome.CANCELLED, "cancelled"), ("b", Outcome.CANCELLED, "cancelled")]
    assert take_all(channel) == ["c"]
    assert books(channel) == (3, 1, 0, 0, 2, 0)


async def test_an_abandoned_channel_loses_all_it_has_and_gets(rig):
    """After `abandon` no sender waits, and what is still sent is lost at once."""
    channel = rig.channel(capacity=1)
    channel.send_nowait(rig.record("a"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(channel.send, rig.record("b"))
        await wait_all_tasks_blocked()
        channel.abandon()
    await channel.send(rig.record("c"))
    assert [(id, reason) for id, _, reason in rig.lost] == [("b", "abandoned"), ("a", "abandoned"), ("c", "abandoned")]
    assert books(channel) == (3, 0, 0, 0, 3, 0)
    with pytest.raises(EndOfStream):
        channel.receive_nowait()
