"""When a pipeline is ready, by a clock of the test's own."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import SimpleNamespace

import pytest

from dagflow.admin.readiness import PROBE_EVERY_S, Readiness, required_workers
from dagflow.compile import compile_text
from dagflow.engine.engine import Engine
from dagflow.errors import WorkerError
from dagflow.exchange import Request
from dagflow.testing.alone import SILENT

pytestmark = pytest.mark.anyio

FILE = """
[pipeline]
edges = [
  { from = "in", to = "ask" }, { from = "ask", to = "out" },
  { from = "in", to = "shadow", best_effort = true }, { from = "shadow", to = "out" },
]
[sources.in]
type = "jsonl"
path = "in.jsonl"
fields = ["messages"]
[stages.ask]
type = "inference"
worker = "WORKER"
[stages.shadow]
type = "inference"
worker = "other"
[sinks.out]
type = "null"
[workers.a]
type = "echo"
breaker = { failures = 4, calls = 10, cooldown = "30s" }
[workers.b]
type = "echo"
[workers.pool]
type = "pool"
members = ["a", "b"]
[workers.other]
type = "echo"
"""


class Rig:
    """A started engine on a clock that the test sets, whose workers fail as the test says."""

    def __init__(self, worker="a"):
        self.now_s = 100.0
        self.engine = Engine(compile_text(FILE.replace("WORKER", worker)), log=SILENT, clock=lambda: self.now_s)
        self.engine.started.set()
        self.readiness = Readiness(self.engine)
        self.broken: set[str] = set()
        self.probes: list[str] = []
        for name in ("a", "b", "other"):
            plugin = self.engine.wiring.workers[name].plugin
            plugin.infer = self._infer(name, plugin.infer)
            plugin.probe = self._probe(name)

    def _infer(self, name, infer):
        async def answer(request):
            if name in self.broken:
                raise WorkerError("unavailable", "gone")
            return await infer(request)

        return answer

    def _probe(self, name):
        async def probe():
            self.probes.append(name)
            if name in self.broken:
                raise WorkerError("unavailable", "gone")
            return "fine"

        return probe

    async def call(self, name, count=1):
        """Ask a worker; what it raises is noted elsewhere."""
        await self.engine.wiring.workers[name].plugin.open(SimpleNamespace(name=name, clock=lambda: 0.0))
        for _ in range(count):
            with suppress(WorkerError):
                await self.engine.wiring.workers[name].infer(Request(prompt="x"))

    @property
    def down(self):
        """What is not ready, by name."""
        return {reason.what: reason.reason for reason in self.readiness.reasons()}

    async def settle(self):
        """Let a probe that was started end."""
        for _ in range(5):
            await asyncio.sleep(0)


async def test_three_calls_without_an_answer_make_a_worker_down():
    """Two do not; an answer makes it up."""
    rig = Rig()
    rig.broken.add("a")
    await rig.call("a", 2)
    assert rig.down == {}
    await rig.call("a")
    assert rig.down == {"worker `a`": "its last 3 calls had no answer"}
    rig.broken.clear()
    await rig.call("a")
    assert rig.down == {}
    await rig.readiness.close()


async def test_a_worker_comes_up_again_without_traffic():
    """It is asked when somebody asks, not more often than it should be, and an answer makes it up."""
    rig = Rig()
    rig.broken.add("a")
    await rig.call("a", 3)
    assert rig.down
    await rig.settle()
    assert rig.probes == ["a"]
    assert rig.down == {"worker `a`": "its last 3 calls had no answer, and neither had a probe: gone"}
    rig.broken.clear()
    rig.now_s += PROBE_EVERY_S - 0.01
    assert rig.down
    await rig.settle()
    assert rig.probes == ["a"]
    rig.now_s += 0.02
    assert rig.down
    await rig.settle()
    assert rig.probes == ["a", "a"]
    assert rig.down == {}
    await rig.readiness.close()


async def test_an_open_breaker_makes_a_worker_down_until_its_cool_down_is_over():
    """While it is open nothing is asked; then the calls decide, and a probe."""
    rig = Rig()
    rig.broken.add("a")
    await rig.call("a", 4)
    assert rig.down == {"worker `a`": "its breaker is open"}
    await rig.settle()
    assert rig.probes == []
    rig.broken.clear()
    rig.now_s += 31
    assert rig.down == {"worker `a`": "its last 4 calls had no answer"}
    await rig.settle()
    assert rig.down == {}
    await rig.readiness.close()


async def test_a_pool_is_down_only_if_all_its_members_are():
    """One that answers is enough."""
    rig = Rig("pool")
    rig.broken |= {"a", "b"}
    await rig.call("a", 3)
    assert rig.down == {}
    await rig.call("b", 3)
    assert rig.down.keys() == {"worker `pool`"}
    rig.broken.clear()
    await rig.call("b")
    assert rig.down == {}
    await rig.readiness.close()


async def test_refusals_are_answers():
    """A server that says no is there."""
    rig = Rig()
    rig.broken.add("a")
    await rig.call("a", 2)
    rig.engine.wiring.workers["a"].plugin.infer = refuse
    await rig.call("a")
    assert rig.engine.wiring.workers["a"].tally.silent == 0
    assert rig.down == {}


async def refuse(request):
    """A worker that answers with an error."""
    raise WorkerError("refused", "no")


def test_only_workers_that_records_need_count():
    """One that only a best-effort branch asks is not required; neither is a member beside its pool."""
    assert required_workers(compile_text(FILE.replace("WORKER", "pool"))) == ["pool"]
