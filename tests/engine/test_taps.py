"""Taps: what they see, what they leave as it is, and that nothing is left of them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from listening import until
from rigs import Flow, FunctionStage, ListSink, ListSource, edge_of, records

from dagflow.channel.channel import Channel
from dagflow.compile import compile_text
from dagflow.completion import Completion
from dagflow.engine.engine import Engine
from dagflow.engine.taps import QUEUE, Tap, Taps
from dagflow.errors import WorkerError
from dagflow.exchange import Request
from dagflow.testing.alone import SILENT

pytestmark = pytest.mark.anyio

WORKERS = """
[pipeline]
edges = [{ from = "in", to = "ask" }, { from = "ask", to = "out" }]
[sources.in]
type = "jsonl"
path = "in.jsonl"
fields = ["messages"]
[stages.ask]
type = "inference"
worker = "pool"
[sinks.out]
type = "null"
[workers.pool]
type = "pool"
members = ["a"]
[workers.a]
type = "echo"
"""


async def change(record):
    """A stage that changes what it gets."""
    record["n"] = -1
    return record


async def test_an_edge_shows_what_goes_in():
    """Samples have the fields of that moment; the books of the run are as they would be."""
    flow = Flow(
        {"in": ListSource(records(20)), "work": FunctionStage(change), "out": ListSink()}, ["in -> work", "work -> out"]
    )
    engine = flow.engine()
    taps = Taps(engine.wiring)
    with taps.edge("in -> work", rate=1e9) as tap:
        report = await engine.run()
        assert [(await tap.next()).record["n"] for _ in range(20)] == list(range(20))
    assert report["outcomes"]["delivered"] == 20
    assert (tap.seen, tap.taken, tap.dropped) == (20, 20, 0)


@pytest.mark.parametrize("settings", [{}, {"order": "priority"}, {"max_bytes": 10_000}, {"capacity": 1}])
async def test_every_kind_of_channel_can_be_watched(settings):
    """Whatever way a record goes in, it is seen once."""
    flow = Flow({"in": ListSource(records(20)), "out": ListSink()}, [edge_of("in -> out", **settings)])
    engine = flow.engine()
    with Taps(engine.wiring).edge("in -> out", rate=1e9) as tap:
        await engine.run()
    assert tap.seen == 20


async def test_lanes_can_be_watched():
    """The channel of a node with affinity shows its records, too."""
    flow = Flow(
        {"in": ListSource(records(20, session="s")), "out": ListSink()},
        ["in -> out"],
        {"out": {"affinity": "session", "concurrency": 2}},
    )
    engine = flow.engine()
    with Taps(engine.wiring).edge("in -> out", rate=1e9) as tap:
        await engine.run()
    assert tap.seen == 20


async def test_nothing_is_left_when_nobody_watches():
    """The channel and the worker are as they were; two taps do not disturb each other."""
    engine = Engine(compile_text(WORKERS), log=SILENT)
    channel, worker = engine.wiring.channels["in -> ask"], engine.wiring.workers["a"]
    plain, names = channel._push, set(vars(worker))
    taps = Taps(engine.wiring)
    with taps.edge("in -> ask", 1):
        with taps.edge("in -> ask", 1), taps.worker("a", 1), taps.worker("a", 1):
            assert taps.count == 4
        assert channel._push != plain
        assert set(vars(worker)) == names
    assert channel._push == plain
    assert taps.count == 0
    assert isinstance(channel, Channel)


async def test_a_slow_reader_loses_samples_and_holds_nobody_up():
    """What it is too slow for is dropped and counted."""
    flow = Flow({"in": ListSource(records(QUEUE + 30)), "out": ListSink()}, ["in -> out"])
    engine = flow.engine()
    with Taps(engine.wiring).edge("in -> out", rate=1e9) as tap:
        report = await engine.run()
    assert report["outcomes"]["delivered"] == QUEUE + 30
    assert (tap.taken, tap.dropped) == (QUEUE, 30)


def test_the_rate_bounds_the_samples(monkeypatch):
    """So many a second are wanted, whatever passes."""
    now = SimpleNamespace(s=100.0)
    monkeypatch.setattr("dagflow.engine.taps.monotonic", lambda: now.s)
    tap, wanted = Tap(10), 0
    for _ in range(1000):
        now.s += 0.01
        wanted += tap.wants()
    assert 98 <= wanted <= 102
    assert tap.seen == 1000


async def opened(text=WORKERS):
    """An engine whose workers are open."""
    engine = Engine(compile_text(text), log=SILENT)
    for plugin, context in engine.wiring.plugins:
        if context.name in engine.wiring.workers:
            await plugin.open(context)
    return engine


async def embed(texts):
    """Vectors of nothing."""
    return [[0.0] for _ in texts]


async def test_a_worker_shows_what_it_was_sent_and_answered():
    """Whole answers, streams and vectors; a pool's member is seen where the pool asks it."""
    engine = await opened()
    a, pool = engine.wiring.workers["a"], engine.wiring.workers["pool"]
    with Taps(engine.wiring).worker("a", 1e9) as tap:
        assert (await pool.infer(Request(prompt="one two"))).text == "one two"
        sample = await tap.next()
        assert (sample.worker, sample.sent.prompt, sample.answered["text"], sample.error) == (
            "a",
            "one two",
            "one two",
            None,
        )
        chunks = [chunk async for chunk in pool.stream(Request(prompt="three four"))]
        assert (await tap.next()).answered["text"] == Completion.of(chunks).text == "three four"
        a.plugin.embed = embed
        await a.embed(["x", "y"])
        sample = await tap.next()
        assert (sample.sent, sample.answered) == (["x", "y"], {"vectors": 2})
    assert a.tally.calls == 3


async def test_errors_and_calls_that_are_left_are_seen():
    """A sample says what was raised; a stream that is left early is closed, and told as cancelled."""
    engine = await opened()
    worker = engine.wiring.workers["a"]

    async def fail(request):
        raise WorkerError("refused", "no")

    with Taps(engine.wiring).worker("a", 1e9) as tap:
        stream = worker.stream(Request(prompt="one two three"))
        assert (await anext(stream)).text
        await stream.aclose()
        assert (await tap.next()).error == "cancelled"
        worker.plugin.infer = fail
        with pytest.raises(WorkerError):
            await worker.infer(Request(prompt="x"))
        assert (await tap.next()).error == "worker `a`: no"
    await until(lambda: worker.tally.busy == 0)


async def test_closing_a_tap_leaves_calls_under_way_alone():
    """A stream that began under a tap ends well after it."""
    engine = await opened()
    worker = engine.wiring.workers["a"]
    with Taps(engine.wiring).worker("a", 1e9):
        stream = worker.stream(Request(prompt="one two three"))
        first = await anext(stream)
    rest = [chunk async for chunk in stream]
    assert Completion.of([first, *rest]).text == "one two three"
