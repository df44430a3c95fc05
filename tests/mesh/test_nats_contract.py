"""Source and sink `nats` keep the rules for plugins, on the real server."""

from __future__ import annotations

import asyncio

import pytest
from peers.nats_client import client_of
from peers.nats_server import NatsServer

from dagflow.graph.plan import EdgePlan
from dagflow.mesh.carried import carrier_name
from dagflow.mesh.nats.edges import Inlet, Outlet, subject_of
from dagflow.sinks.nats import Nats as NatsSink
from dagflow.sources.nats import Nats as NatsSource
from dagflow.testing import Sample, SinkConformance, SourceConformance
from dagflow.transports.nats import Nats as NatsTransport

STREAM = carrier_name("", EdgePlan("in", "work"))
SUBJECT = subject_of(STREAM)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with the streams `S` and `OUT`."""

    async def make():
        async with client_of(server) as client:
            await client.make("S", ("s.>",), max_msgs=500)
            await client.make("OUT", ("out.>",))
            await client.make(STREAM, (f"{SUBJECT}.*",))

    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        asyncio.run(make())
        yield server


def options(server, **more):
    """Where the server is."""
    return {"servers": [server.url], **more}


class TestSource(SourceConformance):
    """A source that waits for more."""

    @pytest.fixture
    def plugin(self, server):
        async def feed(_):
            async with client_of(server) as client:
                await client.fill(25)

        return Sample(NatsSource, options(server, stream="S", consumer="c"), feed=feed)


class TestSourceUntilEmpty(SourceConformance):
    """A source that ends."""

    @pytest.fixture
    def plugin(self, server):
        async def fill():
            async with client_of(server) as client:
                await client.js.purge_stream("S")
                await client.fill(25)

        asyncio.run(fill())
        return Sample(NatsSource, options(server, stream="S", consumer="e", until="empty", redelivery_delay="10ms"))


class FreshSink(NatsSink):
    """A sink whose stream is empty when it is opened."""

    async def open(self, context):
        await super().open(context)
        await self._connection.client.jetstream().purge_stream("OUT")


def stored(server):
    """How many messages `OUT` has."""
    [account] = server.ask("/jsz?streams=true")["account_details"]
    return {stream["name"]: stream["state"]["messages"] for stream in account["stream_detail"]}["OUT"]


class TestSink(SinkConformance):
    """A sink of whole records."""

    @pytest.fixture
    def plugin(self, server):
        given = options(server, subject="out.x", stream="OUT", deduplicate=False)
        return Sample(FreshSink, given, arrived=lambda _: stored(server))


class TestSinkForOthers(SinkConformance):
    """A sink of objects, spread over subjects."""

    @pytest.fixture
    def plugin(self, server):
        given = options(server, subject="out.{n}", partitions=4, format="records", deduplicate=False)
        return Sample(FreshSink, given, arrived=lambda _: stored(server))


EDGE = EdgePlan("in", "work")


def end(server, build):
    """One end of an edge over the server."""
    transport = NatsTransport(NatsTransport.Options(**options(server)))
    return getattr(transport, build)(EDGE)


class TestOutlet(SinkConformance):
    """Where an edge over the server starts."""

    @pytest.fixture
    def plugin(self, server):
        return Sample(Outlet, build=lambda: end(server, "build_outlet"))


class TestInlet(SourceConformance):
    """Where it ends."""

    @pytest.fixture
    def plugin(self, server):
        async def feed(_):
            async with client_of(server) as client:
                for number in range(40):
                    headers = {"Dagflow-Version": "1", "Dagflow-Id": str(number)}
                    await client.js.publish(f"{SUBJECT}.0", b'{"fields": {"input": "x"}}', headers=headers)

        return Sample(Inlet, build=lambda: end(server, "build_inlet"), feed=feed)
