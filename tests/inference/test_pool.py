"""Pools: who is chosen, what falls back, and who waits."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from desk import guarded, tenant

from dagflow.completion import Completion
from dagflow.errors import ExpressionError, WorkerError
from dagflow.exchange import Chunk, Request, Usage
from dagflow.inference.routing import STRATEGIES, Prefix
from dagflow.plugin import ModelWorker
from dagflow.testing import ManualClock, ScriptedWorker
from dagflow.testing.alone import build_context, build_plugin
from dagflow.workers.pool import Pool

pytestmark = pytest.mark.anyio
ASK = Request(prompt="Why?")


class Held(ModelWorker):
    """Answers when it is told to; `fails` with an error in place of an answer."""

    def __init__(self, fails=None):
        super().__init__()
        self.fails = fails
        self.calls: list[asyncio.Future[None]] = []
        self.asked = 0

    async def infer(self, request):
        """Wait to be released."""
        self.asked += 1
        if self.fails is not None:
            raise self.fails
        released = asyncio.get_running_loop().create_future()
        self.calls.append(released)
        await released
        return Completion("ok", usage=Usage(1, 1))

    def release(self):
        """Answer the oldest call."""
        self.calls.pop(0).set_result(None)


async def opened_pool(workers, name="pool", **options):
    """Open a pool over guarded workers, itself behind guards."""
    keys = {key: options.pop(key) for key in ("max_in_flight", "breaker", "limits") if key in options}
    clock = options.pop("clock", None)
    options.setdefault("members", [name for name in workers if not name.startswith("spare")])
    pool = build_plugin(Pool, **options)
    context = build_context(name, workers=workers)
    await pool.open(context)
    return guarded(pool, name, context.workers, clock, **keys)


async def settled():
    """Let all tasks run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def ask(worker, **request):
    """Begin to ask; give the task."""
    task = asyncio.ensure_future(worker.infer(Request(prompt="Why?", **request)))
    await settled()
    return task


def scripted(*answers):
    """A worker that says this."""
    return ScriptedWorker(answers)


async def test_the_completion_says_who_answered():
    """The member itself, also behind pools in pools, whole and streamed."""
    inner = await opened_pool({"deep": guarded(ScriptedWorker(["a", "b"]), "deep")}, "inner")
    outer = await opened_pool({"inner": inner})
    assert (await outer.infer(ASK)).worker == "deep"
    chunks = [chunk async for chunk in outer.stream(ASK)]
    assert chunks[0].worker == "deep"


async def test_weighted_keeps_shares():
    """Exactly, over each round."""
    workers = {name: guarded(ScriptedWorker(["x"] * 100), name) for name in ("a", "b")}
    pool = await opened_pool(workers, members=["a", {"worker": "b", "weight": 3}], strategy="weighted")
    assert Counter([(await pool.infer(ASK)).worker for _ in range(80)]) == {"a": 20, "b": 60}


async def test_least_busy_evens_out():
    """Of two members, the busier one is never chosen."""
    held = {name: Held() for name in ("a", "b")}
    pool = await opened_pool({name: guarded(worker, name) for name, worker in held.items()}, strategy="least_busy")
    tasks = [await ask(pool) for _ in range(20)]
    assert {name: len(worker.calls) for name, worker in held.items()} == {"a": 10, "b": 10}
    for task in tasks:
        task.cancel()


async def test_least_busy_listens_to_the_server():
    """A server that is busy with others' calls gets fewer of ours."""
    held = {name: Held() for name in ("a", "b")}
    held["a"].load_hint = lambda: 50
    pool = await opened_pool({name: guarded(worker, name) for name, worker in held.items()}, strategy="least_busy")
    tasks = [await ask(pool) for _ in range(10)]
    assert len(held["b"].calls) == 10
    for task in tasks:
        task.cancel()


class Timed(ModelWorker):
    """Takes a time of a manual clock."""

    def __init__(self, clock, takes_s, fails=False):
        super().__init__()
        self.clock, self.takes_s, self.fails = clock, takes_s, fails

    async def infer(self, request):
        """Let time pass."""
        self.clock.advance(self.takes_s)
        if self.fails:
            raise WorkerError("unavailable", "down")
        return Completion("ok")


async def test_latency_prefers_the_fast_and_explores():
    """Most calls go to the fast one, a few to the slow one, which may have become faster."""
    random.seed(1)  # how soon it finds out is a matter of chance
    clock = ManualClock()
    workers = {"fast": Timed(clock, 0.1), "slow": Timed(clock, 1.0)}
    strategy = STRATEGIES["latency"]({"fast": 1.0, "slow": 1.0})
    members = [guarded(worker, name) for name, worker in workers.items()]
    counts = Counter()
    for _ in range(1000):
        member = strategy.pick(members, ASK)
        strategy.observe(member, workers[member.name].takes_s, False)
        counts[member.name] += 1
    assert 5 <= counts["slow"] <= 80
    workers["slow"].takes_s = 0.001
    picks = Counter()
    for _ in range(1000):
        member = strategy.pick(members, ASK)
        strategy.observe(member, workers[member.name].takes_s, False)
        picks[member.name] += 1
    assert picks["slow"] > 500


async def test_failing_fast_is_not_fast():
    """A member that fails at once does not attract the calls."""
    members = [guarded(Held(), name) for name in ("good", "bad")]
    strategy = STRATEGIES["latency"]({"good": 1.0, "bad": 1.0})
    counts = Counter()
    for _ in range(500):
        member = strategy.pick(members, ASK)
        counts[member.name] += 1
        strategy.observe(member, 0.001 if member.name == "bad" else 0.1, member.name == "bad")
    assert counts["good"] > counts["bad"]


async def test_latency_spreads_the_first_calls():
    """Who has never answered is no better than the others until it does."""
    held = {name: Held() for name in "abc"}
    pool = await opened_pool({name: guarded(worker, name) for name, worker in held.items()}, strategy="latency")
    tasks = [await ask(pool) for _ in range(30)]
    assert all(len(worker.calls) >= 5 for worker in held.values())
    for task in tasks:
        task.cancel()


async def test_who_is_left_early_was_not_fast():
    """A call that is cancelled at once says nothing of its member; one that had to be cancelled late does."""
    members = [guarded(Held(), name) for name in ("hangs", "good")]
    strategy = STRATEGIES["latency"]({"hangs": 1.0, "good": 1.0})
    strategy.observe(members[1], 0.1, False)
    strategy.observe(members[0], 0.001, None)
    strategy.observe(members[1], 0.001, None)
    assert strategy._average_s == {"good": 0.1}
    strategy.observe(members[0], 5.0, None)
    assert strategy._average_s == {"good": 0.1, "hangs": 5.0}


async def test_sessions_stay_with_their_member():
    """While it is not too busy; without a session anybody will do."""
    workers = {name: guarded(ScriptedWorker(["x"] * 500), name) for name in "abc"}
    pool = await opened_pool(workers, strategy="session")
    homes = {}
    for turn in range(5):
        for session in range(30):
            answered = (await pool.infer(Request(prompt="", session=f"s{session}"))).worker
            assert homes.setdefault(session, answered) == answered, turn
    assert set(homes.values()) == {"a", "b", "c"}
    assert (await pool.infer(ASK)).worker in workers


async def test_one_busy_session_does_not_sink_its_member():
    """Beyond 1.25 times the mean load, its records go elsewhere."""
    held = {name: Held() for name in "abcd"}
    pool = await opened_pool({name: guarded(worker, name) for name, worker in held.items()}, strategy="session")
    tasks = [await ask(pool, session="hot") for _ in range(40)]
    assert max(len(worker.calls) for worker in held.values()) <= 14
    for task in tasks:
        task.cancel()


async def test_a_prefix_goes_where_it_was():
    """The member that had the longest beginning last; the table is bounded."""
    members = [guarded(Held(), name) for name in "abcd"]
    strategy = Prefix({member.name: 1.0 for member in members})
    system = "You are a helpful assistant. " * 40
    home = strategy.pick(members, Request(prompt=system + "one"))
    assert all(strategy.pick(members, Request(prompt=system + str(n))) is home for n in range(20))
    homes = {strategy.pick(members, Request(prompt=f"{n} " * 200)).name for n in range(40)}
    assert len(homes) == 4
    chat = [{"role": "system", "content": system}, {"role": "user", "content": "Hi"}]
    first = strategy.pick(members, Request(messages=chat))
    assert strategy.pick(members, Request(messages=[*chat, {"role": "user", "content": "More"}])) is first


async def test_the_table_of_prefixes_is_bounded(monkeypatch):
    """Old ones go."""
    monkeypatch.setattr("dagflow.inference.routing._MOST_PREFIXES", 10)
    members = [guarded(Held(), name) for name in "ab"]
    strategy = Prefix({"a": 1.0, "b": 1.0})
    for n in range(100):
        strategy.pick(members, Request(prompt=f"{n} " * 400))
    assert len(strategy._homes) <= 10


@pytest.mark.parametrize(
    ("kind", "on"),
    [(kind, on) for kind in WorkerError.KINDS for on in ("any", "context_window", "overloaded", "timeout")],
)
async def test_fallbacks_by_class(kind, on):
    """The rule of the class is taken, or that for any; else the error stands."""
    workers = {"a": scripted(WorkerError(kind, "no")), "spare": guarded(ScriptedWorker(["saved"]), "spare")}
    pool = await opened_pool(workers, fallbacks=[{"on": on, "to": "spare"}])
    if on in (kind, "any"):
        completion = await pool.infer(ASK)
        assert (completion.text, completion.worker) == ("saved", "spare")
    else:
        with pytest.raises(WorkerError) as caught:
            await pool.infer(ASK)
        assert caught.value.kind == kind


async def test_a_fallback_that_fails_goes_to_the_rules_after_it():
    """By its own error, and never back."""
    workers = {
        "a": scripted(WorkerError("overloaded", "busy")),
        "spare": scripted(WorkerError("context_window", "too long")),
        "spare2": scripted("big enough"),
    }
    rules = [{"on": "overloaded", "to": "spare"}, {"on": ["context_window", "timeout"], "to": "spare2"}]
    assert (await (await opened_pool(workers, fallbacks=rules)).infer(ASK)).text == "big enough"


async def test_a_stream_falls_back_before_its_first_chunk_only():
    """After it, the error is the reader's."""

    class Broken(ModelWorker):
        infer = None

        def __init__(self, chunks):
            super().__init__()
            self.chunks = chunks

        async def stream(self, request):
            """Break after some chunks."""
            for _ in range(self.chunks):
                yield Chunk("a")
            raise WorkerError("unavailable", "gone")

    Broken.__abstractmethods__ = frozenset()
    rules = [{"on": "any", "to": "spare"}]
    early = await opened_pool({"a": Broken(0), "spare": scripted("saved")}, fallbacks=rules)
    assert "".join([chunk.text async for chunk in early.stream(ASK)]) == "saved"
    late = await opened_pool({"a": Broken(1), "spare": scripted("saved")}, fallbacks=rules)
    stream = late.stream(ASK)
    assert (await anext(stream)).text == "a"
    with pytest.raises(WorkerError, match="gone"):
        await anext(stream)


async def test_a_call_waits_for_any_member():
    """It is not bound to a busy one while another comes free."""
    held = {name: Held() for name in "ab"}
    pool = await opened_pool({name: guarded(w, name, max_in_flight=1) for name, w in held.items()})
    tasks = [await ask(pool) for _ in range(3)]
    assert [len(worker.calls) for worker in held.values()] == [1, 1]
    held["b"].release()
    await settled()
    assert held["b"].asked == 2
    assert held["a"].asked == 1
    for task in tasks:
        task.cancel()


async def test_priorities_reach_the_pool():
    """The highest class goes first when a member comes free, also through a pool in a pool."""
    held = Held()
    inner = await opened_pool({"a": guarded(held, "a", max_in_flight=1)}, "inner")
    pool = await opened_pool({"inner": inner})
    first = await ask(pool)
    waiting = {priority: await ask(pool, priority=priority) for priority in (0, 2, 1)}
    order = []
    for _ in range(4):
        held.release()
        await settled()
        order += [priority for priority, task in waiting.items() if task.done() and priority not in order]
    assert first.done()
    assert order == [2, 1, 0]


async def test_who_leaves_the_pools_line_keeps_nobody_waiting():
    """A waiter that is cancelled in the moment in which it was woken passes that on."""
    held = Held()
    pool = await opened_pool({"a": guarded(held, "a", max_in_flight=1)})
    first, second, third = await ask(pool), await ask(pool), await ask(pool)
    held.release()
    await asyncio.sleep(0)
    second.cancel()
    await settled()
    assert held.asked == 2
    held.release()
    await settled()
    assert first.done()
    assert third.done()


async def test_a_member_whose_breaker_is_open_gets_nothing():
    """The others do; when all are open, the shortest wait is told."""
    keys = {"breaker": {"failures": 1, "calls": 1, "cooldown": "60s"}}
    bad, good = Held(WorkerError("timeout", "slow")), ScriptedWorker(["x"] * 20)
    pool = await opened_pool({"bad": guarded(bad, "bad", **keys), "good": guarded(good, "good")}, strategy="weighted")
    results = await asyncio.gather(*(pool.infer(ASK) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(result, WorkerError) for result in results) == bad.asked == 1
    alone = await opened_pool({"bad": guarded(Held(WorkerError("timeout", "slow")), "bad", **keys)})
    with pytest.raises(WorkerError, match="slow"):
        await alone.infer(ASK)
    with pytest.raises(WorkerError, match="breaker") as caught:
        await alone.infer(ASK)
    assert 0 < caught.value.retry_after <= 60


async def test_a_retry_after_of_one_member_holds_nobody_up_while_another_is_free():
    """The stage may try again at once."""
    overloaded = WorkerError("overloaded", "busy", retry_after=30.0)
    workers = {"a": scripted(overloaded), "b": scripted("x")}
    pool = await opened_pool(workers, strategy="weighted")
    with pytest.raises(WorkerError) as caught:
        await pool.infer(ASK)
    assert caught.value.retry_after is None
    assert (await pool.infer(ASK)).text == "x"


async def test_all_members_full_of_rate_limits_are_waited_for():
    """A timer wakes who waits."""
    pool = await opened_pool({"a": guarded(ScriptedWorker(["x"] * 3), "a", limits=[{"requests": "2/s"}])})
    assert [(await pool.infer(ASK)).text for _ in range(3)] == ["x"] * 3


async def test_a_pause_that_begins_while_a_call_waits_for_room_ends_its_wait():
    """The end of the only call brings no room, only a time after which there is some."""

    class Far(Held):
        remote = True

    far = Far()
    pool = await opened_pool({"a": guarded(far, "a", max_in_flight=1)})
    first, second = await ask(pool), await ask(pool)
    far.calls.pop().set_exception(WorkerError("overloaded", "busy", retry_after=0.01))
    while far.asked < 2:
        await asyncio.sleep(0.001)
    far.release()
    assert (await second).text == "ok"
    assert first.exception().kind == "overloaded"


def test_a_wait_of_next_to_nothing_is_one_on_every_loop():
    """uvloop makes a timer of no time a plain handle, which does not say when it is due."""
    uvloop = pytest.importorskip("uvloop")

    async def play():
        clock = ManualClock(1000.0)
        worker = guarded(Held(), "a", clock=clock, limits=[{"requests": "1/s"}])
        pool = await opened_pool({"a": worker})
        tasks = [await ask(pool)]
        clock.advance(0.99999 + 1 / 64)
        tasks += [await ask(pool) for _ in range(2)]
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()

    uvloop.run(play())


async def test_who_waits_for_its_own_key_lets_others_find_a_member():
    """In the line of the pool, and in that of a member that others ask, too."""
    keys = {"limits": [{"requests": "1/h", "key": "meta.tenant"}]}
    worker = guarded(ScriptedWorker(["x"] * 4), "a", **keys)
    pool = await opened_pool({"a": worker})
    await pool.infer(Request(prompt="", record=tenant("a")))
    held = await ask(pool, record=tenant("a"))
    assert (await pool.infer(Request(prompt="", record=tenant("b")))).text == "x"
    direct = asyncio.ensure_future(worker.infer(Request(prompt="", record=tenant("a"))))
    await settled()
    assert (await pool.infer(Request(prompt="", record=tenant("c")))).text == "x"
    held.cancel()
    direct.cancel()


async def test_a_breaker_that_may_try_again_is_tried_while_others_are_busy():
    """Who waits for any member need not wait for the end of a long call."""
    bad, busy = Held(WorkerError("unavailable", "down")), Held()
    breaker = {"failures": 1, "calls": 1, "cooldown": "10ms"}
    workers = {"bad": guarded(bad, "bad", breaker=breaker), "busy": guarded(busy, "busy", max_in_flight=1)}
    pool = await opened_pool(workers, strategy="weighted")
    with pytest.raises(WorkerError, match="down"):
        await pool.infer(ASK)
    first, second = await ask(pool), await ask(pool)
    assert (bad.asked, busy.asked, second.done()) == (1, 1, False)
    with pytest.raises(WorkerError, match="down"):
        await second
    busy.release()
    await first


async def test_a_records_own_fault_is_no_fault_of_the_pool():
    """An expression that fails on one record opens no breaker for the others."""
    worker = guarded(ScriptedWorker(["x"] * 4), "a", limits=[{"requests": "9/s", "key": "meta.tenant + 1"}])
    pool = await opened_pool({"a": worker}, breaker={"failures": 1, "calls": 1})
    with pytest.raises(ExpressionError):
        await pool.infer(Request(prompt="", record=tenant("a")))
    assert (await pool.infer(Request(prompt="", record=tenant(1)))).text == "x"
    assert pool.as_dict()["errors"] == {"refused": 1}


async def test_it_embeds_with_a_member():
    """Like any other call."""

    class Embedder(Held):
        async def embed(self, texts):
            """One number each."""
            return [[1.0] for _ in texts]

    pool = await opened_pool({"a": guarded(Embedder(), "a")})
    assert await pool.embed(["x", "y"]) == [[1.0], [1.0]]


async def test_limits_of_a_pool_hold_for_all_members():
    """They are its own."""
    held = {name: Held() for name in "ab"}
    pool = await opened_pool({name: guarded(worker, name) for name, worker in held.items()}, max_in_flight=3)
    tasks = [await ask(pool) for _ in range(8)]
    assert sum(len(worker.calls) for worker in held.values()) == 3
    for task in tasks:
        task.cancel()


async def test_a_member_stands_in_it_once():
    """A second time would be a share in disguise."""
    with pytest.raises(ValueError, match="`a` stands twice"):
        build_plugin(Pool, members=["a", "a"])


async def test_a_closed_pool_listens_to_nobody():
    """Its members may live on."""
    worker = guarded(Held(), "a")
    pool = await opened_pool({"a": worker})
    assert len(worker.on_room) == 1
    await pool.plugin.close()
    assert worker.on_room == []


async def test_time_in_the_pools_line_is_nobodys_fault():
    """Who loses patience there opens no breaker of the pool; who does so with a member that hangs does."""
    clock, held = ManualClock(), Held()
    worker = guarded(held, "one", clock=clock, max_in_flight=1)
    pool = await opened_pool({"one": worker}, breaker={"failures": 1, "calls": 1}, clock=clock)
    hanging = await ask(pool, timeout_s=10.0)
    waiting = await ask(pool, timeout_s=10.0)
    clock.advance(10.0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert pool.as_dict()["breaker"]["state"] == "closed"
    hanging.cancel()
    await asyncio.wait([hanging])
    assert pool.as_dict()["breaker"]["state"] == "open"
