"""`[shared]`: programs with the same limit take no more than that together, from one server that counts."""

from __future__ import annotations

import asyncio

import pytest
from mesh_rig import make, running
from peers.nats_server import NatsServer
from peers.processes import wait_until
from peers.scripted_server import ScriptedServer

from dagflow.compile import compile_text
from dagflow.engine.engine import Engine
from dagflow.errors import OpenFailed
from dagflow.testing.alone import SILENT

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

TEXT = """
[pipeline]
name = "p"
drain_timeout = "2s"
edges = [{{ from = "in", to = "ask" }}, {{ from = "ask", to = "out" }}]
[sources.in]
type = "generate"
{source}
[stages.prompt]
type = "template"
template = "{{{{ input }}}}"
[stages.ask]
type = "inference"
worker = "main"
concurrency = 16
[sinks.out]
type = "null"
[workers.main]
type = "openai"
model = "tiny"
base_url = "{url}/v1"
{limits}
[transports.bus]
type = "nats"
servers = ["{bus}"]
[shared]
transport = "bus"
"""


def text(server, upstream, limits='limits = { requests = "30/s" }', source=""):
    """A file that asks as often as it may."""
    found = TEXT.format(bus=server.url, url=upstream.url, limits=limits, source=source)
    return found.replace('from = "in", to = "ask"', 'from = "in", to = "prompt" }, { from = "prompt", to = "ask"')


def most_within(times, length_s):
    """The most within any stretch of so many seconds, less what a request may take from its program to the server."""
    return max(sum(begin <= at < begin + length_s - 0.1 for at in times) for begin in times)


@pytest.fixture
def upstream():
    """A model server that notes when it is asked."""
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def server(tmp_path):
    """A server of NATS."""
    with NatsServer(tmp_path / "nats") as server:
        yield server


async def test_two_engines(server, upstream):
    """Have one limit."""
    file = text(server, upstream)
    await make(file)
    engines = [Engine(compile_text(file), log=SILENT) for _ in range(2)]
    async with running(*engines):
        await asyncio.to_thread(wait_until, lambda: len(upstream.times) >= 150, 60)
    assert most_within(upstream.times, 1.0) <= 30
    shares = [engine.report()["workers"]["main"]["calls"] for engine in engines]
    assert min(shares) > 10


async def test_a_bucket_that_is_not_there(server, upstream):
    """Is told, with the remedy."""
    with pytest.raises(OpenFailed, match=r"bucket `dagflow-p`.*`dagflow mesh apply` creates"):
        await Engine(compile_text(text(server, upstream)), log=SILENT).run()
