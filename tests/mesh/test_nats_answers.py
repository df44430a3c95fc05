"""Callers who wait at one machine for what another one answers, over a real server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import aiohttp
import pytest
from mesh_rig import check_books, make, nats_bus, part
from peers.nats_server import NatsServer
from service import CHAT, Service, until

from dagflow.errors import InvalidField, StageTimeout, WorkerError
from dagflow.mesh.reply import WINDOW, error_of, fault_of

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

FILE = """
[pipeline]
name = "p"
drain_timeout = "2s"
edges = [
  {{ from = "api", to = "work", via = "bus" }},
  {{ from = "work", to = "ask", via = "bus" }},
  {{ from = "ask", to = "answer" }},
]
[transports.bus]
{bus}
[sources.api]
type = "http"
listen = "127.0.0.1:0"
{api}
[stages.work]
type = "set"
fields = {{ seen = "'yes'" }}
[stages.ask]
type = "inference"
worker = "main"
[sinks.answer]
type = "reply"
[workers.main]
type = "echo"
{worker}
"""
PARTS = (("api",), ("work",), ("ask", "answer"))


@pytest.fixture
def server(tmp_path):
    """A server, with a store of its own."""
    with NatsServer(tmp_path) as server:
        yield server


@asynccontextmanager
async def served(server, worker="", api="", parts=PARTS):
    """Three programs, and a client of the first; gives it and their engines."""
    file = FILE.format(bus=nats_bus(server.url), worker=worker, api=api)
    await make(file)
    engines = [part(file, *nodes) for nodes in parts]
    runs = [asyncio.ensure_future(engine.run()) for engine in engines]
    try:
        for engine in engines:
            await until(engine.started.is_set)
        async with aiohttp.ClientSession() as session:
            yield Service(engines[0], runs[0], session), engines
    finally:
        for engine in engines:
            engine.stop("the test is over")
        await asyncio.gather(*runs)


async def test_an_answer_comes_back_over_three_programs(server):
    """The caller gets what the last one answers; it is delivered there, and handed off on its way."""
    async with served(server) as (service, engines):
        reply = await service.chat()
        assert (reply.status, reply.text) == (200, "one two three")
        replies = await asyncio.gather(*(service.chat() for _ in range(40)))
        assert {reply.text for reply in replies} == {"one two three"}
        await until(lambda: engines[2].report()["outcomes"]["delivered"] == 41)
    assert engines[0].report()["handed_off"] == engines[1].report()["handed_off"] == 41
    check_books(*engines)


async def test_a_stream_comes_back_in_order(server):
    """More chunks than may be under way, each as it was made."""
    words = [f"w{number}" for number in range(5 * WINDOW)]
    body = {"messages": [{"role": "user", "content": " ".join(words)}], "stream": True}
    async with served(server) as (service, _):
        reply = await service.ask("/v1/chat/completions", body)
    assert reply.status == 200
    texts = [event["choices"][0]["delta"].get("content", "") for event in reply.events[:-1] if event["choices"]]
    assert "".join(texts).split() == words
    assert sum(1 for text in texts if text) > WINDOW
    assert reply.events[-1] == "[DONE]"


@pytest.mark.parametrize("kind", ["timeout", "overloaded", "refused", "content_policy"])
async def test_a_failure_is_told_as_if_it_were_here(server, kind):
    """The same status and code as without a broker."""
    broken = f'error_rate = 1.0\nerror = "{kind}"'
    async with served(server, broken) as (service, engines):
        far = await service.chat()
        assert engines[2].report()["outcomes"]["failed"] == 1
    file = FILE.format(bus=nats_bus(server.url), worker=broken, api="").replace(', via = "bus"', "")
    near_engine = part(file.replace("[transports.bus]\n" + nats_bus(server.url), ""), "api", "work", "ask", "answer")
    run = asyncio.ensure_future(near_engine.run())
    await until(near_engine.started.is_set)
    async with aiohttp.ClientSession() as session:
        near = await Service(near_engine, run, session).chat()
    near_engine.stop("the test is over")
    await run
    assert far.error == near.error
    assert far.status >= 400


async def test_a_deadline_holds_everywhere(server):
    """It is 504 for the caller, and the work ends where it is."""
    async with served(server, 'delay = "30s"') as (service, engines):
        reply = await service.chat(headers={"x-request-timeout": "0.3"})
        assert reply.status == 504
        await until(lambda: engines[2].report()["in_flight"] == 0)
        assert sum(engines[2].report()["outcomes"].values()) == 1


@pytest.mark.parametrize("streams", [False, True])
async def test_a_caller_who_leaves_cancels_the_work_elsewhere(server, streams):
    """Whole or streamed, the slot of the far machine is free at once."""
    slow = 'chunk_delay = "20ms"' if streams else 'delay = "30s"'
    words = " ".join(map(str, range(2000)))
    body = {**CHAT, "stream": streams, "messages": [{"role": "user", "content": words}]}
    async with served(server, slow) as (service, engines):
        asking = asyncio.ensure_future(
            service.session.post(service.url + "/v1/chat/completions", json=body, timeout=aiohttp.ClientTimeout(60))
        )
        await until(lambda: engines[2].report()["nodes"]["ask"]["busy"] == 1)
        if streams:
            (await asking).close()
        else:
            asking.cancel()
        await until(lambda: engines[2].report()["in_flight"] == 0, 5)
        assert engines[2].report()["outcomes"]["cancelled"] == 1
        await until(lambda: engines[0].report()["in_flight"] == 0)


async def test_a_caller_who_leaves_before_the_work_begins(server):
    """Its record is cancelled when somebody takes it over."""
    async with served(server, parts=(("api",), ("ask", "answer"))) as (service, engines):
        asking = asyncio.ensure_future(service.chat())
        await until(lambda: engines[0].report()["in_flight"] == 1)
        await until(lambda: engines[0].wiring.nodes["api -> work (out)"].busy == 1)
        asking.cancel()
        await until(lambda: engines[0].report()["in_flight"] == 0)
        middle = part(FILE.format(bus=nats_bus(server.url), worker="", api=""), "work")
        run = asyncio.ensure_future(middle.run())
        await until(lambda: engines[1].report()["outcomes"]["cancelled"] == 1)
        middle.stop("the test is over")
        await run


@pytest.mark.parametrize(
    "error",
    [WorkerError("overloaded", "busy", retry_after=3.0), StageTimeout(2.0), InvalidField("n", "a number", "x")],
    ids=["worker", "timeout", "field"],
)
def test_an_error_is_what_it_was(error):
    """Of the same class, with the same words."""
    again = error_of(fault_of(error))
    assert (type(again), again.code, str(again)) == (type(error), error.code, str(error))
    assert (again.retryable, again.retry_after) == (error.retryable, error.retry_after)
    assert error_of(fault_of(None)) is None
