"""Random pools, faults, priorities and cancellations: every call ends, and nothing is left behind."""

from __future__ import annotations

import asyncio
import random

import pytest
from desk import guarded

from dagflow.completion import Completion
from dagflow.errors import WorkerError
from dagflow.exchange import Chunk, Request, Usage
from dagflow.inference.sharing import Sharing
from dagflow.plugin import ModelWorker
from dagflow.store.answers import MemoryAnswers
from dagflow.testing.alone import build_context, build_plugin
from dagflow.workers.pool import Pool

KINDS = (*WorkerError.KINDS, "bug", "hang")


class Moody(ModelWorker):
    """Answers, fails or hangs for a while, as a seed says."""

    def __init__(self, dice, share):
        super().__init__()
        self.dice, self.share = dice, share
        self.busy = 0

    async def _act(self):
        for _ in range(self.dice.randrange(4)):
            await asyncio.sleep(0)
        if self.dice.random() < self.share:
            kind = self.dice.choice(KINDS)
            if kind == "hang":
                await asyncio.sleep(0.03)
                return
            after = self.dice.choice([None, 0.001])
            raise ValueError("bug") if kind == "bug" else WorkerError(kind, "moody", retry_after=after)

    async def infer(self, request):
        """Answer, perhaps."""
        self.busy += 1
        try:
            await self._act()
            return Completion("ok", usage=self.dice.choice([None, Usage(3, 4)]))
        finally:
            self.busy -= 1

    async def stream(self, request):
        """Answer in chunks, perhaps."""
        self.busy += 1
        try:
            for _ in range(self.dice.randrange(3)):
                await self._act()
                yield Chunk("a")
            await self._act()
            yield Chunk("b", "stop", Usage(3, 4))
        finally:
            self.busy -= 1


def keys(dice):
    """Guards of one worker, by lot."""
    choices = {
        "max_in_flight": lambda: dice.randint(1, 3),
        "adaptive": lambda: {"max": dice.randint(1, 4)},
        "limits": lambda: [{"requests": "100k/s", "tokens": "10M tokens/s"}, {"requests": "50k/s", "key": "tenant"}],
        "breaker": lambda: {"failures": 2, "calls": 4, "cooldown": "1ms", "max_cooldown": "4ms"},
        "prices": lambda: {"input": 1.0, "output": 1.0},
        "total_timeout": lambda: "20ms",
        "idle_timeout": lambda: "10ms",
    }
    chosen = {name: make() for name, make in choices.items() if dice.random() < 0.5}
    if "prices" in chosen and dice.random() < 0.5:
        chosen["budget"] = {"reject": 1e-3}
    return chosen


async def build(dice, plugins):
    """Build a pool of pools over moody workers."""
    members = {}
    for name in ("a", "b", "c", "spare"):
        plugin = Moody(dice, dice.choice([0.0, 0.2, 0.7]))
        plugins.append(plugin)
        members[name] = guarded(plugin, name, **keys(dice))
    workers = dict(members)
    for name, below in (("inner", ["a", "b"]), ("outer", ["inner", "c"])):
        fallbacks = [{"on": dice.choice(["any", "overloaded"]), "to": "spare"}] if dice.random() < 0.5 else []
        strategy = dice.choice(["weighted", "least_busy", "latency", "session", "prefix"])
        pool = build_plugin(Pool, members=below, strategy=strategy, fallbacks=fallbacks)
        named = {one: workers[one] for one in (*below, "spare")}
        await pool.open(build_context(name, workers=named))
        workers[name] = guarded(pool, name, named, **keys(dice))
    return workers


async def call(asked, request, streams, dice):
    """Make one call, and perhaps leave its stream early."""
    if not streams:
        await asked.infer(request)
        return
    stream = asked.stream(request)
    try:
        async for _ in stream:
            if dice.random() < 0.1:
                return
    finally:
        await stream.aclose()


async def play(seed):
    """Play one game to its end, and look at what is left."""
    dice, plugins = random.Random(seed), []
    workers = await build(dice, plugins)
    asked = workers["outer"]
    if dice.random() < 0.6:
        asked = Sharing(asked, dice.choice([None, MemoryAnswers(5, None)]), dedup=dice.random() < 0.8)
    tasks = []
    for number in range(60):
        request = Request(
            prompt=f"{dice.randrange(6)}", session=f"s{dice.randrange(3)}", priority=dice.randrange(3), timeout_s=0.05
        )
        tasks.append(asyncio.ensure_future(call(asked, request, dice.random() < 0.5, dice)))
        if dice.random() < 0.3:
            dice.choice(tasks).cancel()
        if dice.random() < 0.4:
            await asyncio.sleep(0)
        if number % 20 == 19:
            await asyncio.sleep(0.002)
    _, hanging = await asyncio.wait(tasks, timeout=20)
    assert not hanging, f"seed {seed}: {len(hanging)} calls hang"
    await asyncio.gather(*tasks, return_exceptions=True)
    if isinstance(asked, Sharing):
        await asked.close()
    for _ in range(10):
        await asyncio.sleep(0)
    check_books(workers, plugins, seed)


def check_books(workers, plugins, seed):
    """Nothing is under way, waits, or is reserved."""
    assert all(plugin.busy == 0 for plugin in plugins), seed
    for name, worker in workers.items():
        books = worker.as_dict()
        assert (books["busy"], books["waiting"]) == (0, 0), (seed, name)
        assert books["calls"] == books["answered"] + sum(books["errors"].values()), (seed, name)
        assert books.get("concurrency", {}).get("busy", 0) == 0, (seed, name)
        for guard in worker._guards:
            assert not getattr(guard, "_reserved", None), (seed, name, guard.name)
            assert getattr(guard, "_probe", None) is None, (seed, name)


@pytest.mark.parametrize("seed", range(40))
def test_random_calls(seed):
    """A game of sixty calls."""
    asyncio.run(play(seed))
