"""Hosting: sinks of the parent are called as an engine would call them, for all children."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from dagflow.errors import RecordError
from dagflow.graph.plan import NodePlan
from dagflow.plugin import NoOptions, Sink
from dagflow.processes.hosting import HostedSink
from dagflow.processes.messages import Write
from dagflow.processes.packing import pack_record
from dagflow.record import Record

pytestmark = pytest.mark.anyio


class Child:
    """A child, as a sink sees it: what it was told of its writes."""

    def __init__(self):
        self.told = {}
        self.link = SimpleNamespace(send=lambda message: self.told.__setitem__(message.number, message.fault))


class Slow(Sink):
    """Takes a record when its gate is opened; fails on some."""

    def __init__(self, options=None):
        super().__init__(options)
        self.gate, self.begun, self.most, self.busy = asyncio.Event(), [], 0, 0

    async def write(self, record):
        self.busy += 1
        self.begun.append(record.id)
        self.most = max(self.most, self.busy)
        await self.gate.wait()
        self.busy -= 1
        if record.id == "bad":
            raise RecordError("no")


def hosted(plugin, concurrency=1):
    """A sink, and what was noted as written."""
    written = []
    plan = NodePlan("out", "sink", "slow", type(plugin), NoOptions(), concurrency=concurrency)
    return HostedSink(plan, plugin, lambda member, write: written.append(write.number)), written


def write(number, id):
    """A child's wish."""
    return Write(number, "out", None, "", "", pack_record(Record({}, id)))


async def until(holds):
    """Wait for something to hold."""
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0)


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_as_many_at_a_time_as_the_file_says(concurrency):
    """In the order in which they came, from whomever."""
    plugin, one, other = Slow(), Child(), Child()
    sink, written = hosted(plugin, concurrency)
    for number in range(6):
        sink.take((one, other)[number % 2], write(number, str(number)))
    await until(lambda: len(plugin.begun) == concurrency)
    plugin.gate.set()
    await until(lambda: len(one.told) == len(other.told) == 3)
    assert plugin.begun == list("012345")
    assert plugin.most == concurrency
    assert sorted(written) == list(range(6))


async def test_a_failure_is_told_and_not_noted():
    """With its error; the next one is written."""
    plugin, child = Slow(), Child()
    plugin.gate.set()
    sink, written = hosted(plugin)
    sink.take(child, write(1, "bad"))
    sink.take(child, write(2, "good"))
    await until(lambda: len(child.told) == 2)
    assert (child.told[1].message, child.told[2], written) == ("no", None, [2])


async def test_what_is_withdrawn_is_not_written():
    """If it has not begun."""
    plugin, child = Slow(), Child()
    sink, written = hosted(plugin)
    for number in range(3):
        sink.take(child, write(number, str(number)))
    await until(lambda: plugin.begun == ["0"])
    sink.withdraw(child, 0)
    sink.withdraw(child, 1)
    plugin.gate.set()
    await until(lambda: 2 in child.told)
    assert plugin.begun == ["0", "2"]
    assert written == [0, 2]


async def test_a_child_that_died():
    """What it wanted is left out, and what has begun is seen to its end, before a successor may ask again."""
    plugin, dead, living = Slow(), Child(), Child()
    sink, written = hosted(plugin)
    sink.take(dead, write(0, "begun"))
    sink.take(dead, write(1, "waits"))
    sink.take(living, write(2, "other"))
    await until(lambda: plugin.begun == ["begun"])
    forgetting = asyncio.ensure_future(sink.forget(dead))
    await asyncio.sleep(0)
    assert not forgetting.done()
    plugin.gate.set()
    await forgetting
    assert 0 in written
    await until(lambda: 2 in living.told)
    assert plugin.begun == ["begun", "other"]
