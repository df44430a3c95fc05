"""Pipelines from a stream to a stream, on real servers that are killed, cut off, full, or slow.

After each, every record that was accepted has one outcome, nothing that was acknowledged is missing, and nothing is
stored twice.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats_rig import outcomes, run, running, settled, text, until_async
from peers.cut import Cut
from peers.nats_client import client_of
from peers.nats_server import NatsCluster, NatsServer
from service import until

from dagflow.mesh.nats import connection as connection_module
from dagflow.mesh.nats import pulling as pulling_module

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

SINK = 'type = "nats"\nsubject = "out.x"\nconcurrency = 32\n'
SOURCE = 'ack_wait = "1s"\nmax_redeliveries = 1000\n'
WORK = 'type = "sleep"\ndelay = "2ms"\nconcurrency = 4\n'
COUNT = 400


class Address:
    """Where a server can be reached."""

    def __init__(self, port: int) -> None:
        self.url = f"nats://127.0.0.1:{port}"


@asynccontextmanager
async def filled(server, count=COUNT, **more):
    """A client, a stream `IN` with texts, and an empty one `OUT`."""
    async with client_of(server) as client:
        await client.make("IN", ("in.>",))
        await client.make("OUT", ("out.>",), **more)
        await client.fill(count, "in.x")
        yield client


async def all_came(client):
    """Whether nothing is open any more in `IN`."""
    try:
        return await client.open_messages("c", "IN") == (0, 0)
    except Exception:  # the server is down
        return False


async def check(client, engines, count=COUNT):
    """Check that everything came through once, and that all books balance."""
    messages = await client.messages("OUT")
    assert sorted(int(message.data) for message in messages) == list(range(count))
    for engine in engines:
        report = engine.report()
        assert report["accepted"] == sum(report["outcomes"].values())
        assert report["in_flight"] == 0


SINK_TEXT = SINK + 'format = "records"\ntemplate = "{{ input }}"\n'


async def test_a_server_that_is_killed(tmp_path):
    """Twice, in the middle, by signal 9; what it had acknowledged is there, and the rest comes."""
    with NatsServer(tmp_path) as server:
        async with filled(server) as client:
            async with running(text(server.url, SOURCE, WORK, SINK_TEXT)) as engine:
                for share in (0.2, 0.6):
                    await until(lambda share=share: settled(engine) > share * COUNT)
                    await asyncio.to_thread(server.restart)
                await until_async(lambda: all_came(client), 60)
            await check(client, [engine])
            assert outcomes(engine.report()) == {"delivered": COUNT}


async def test_a_network_that_is_cut(tmp_path):
    """Connections that are reset again and again lose nothing."""
    with NatsServer(tmp_path) as server, Cut(server.port) as cut:
        async with filled(server) as client:
            async with running(text(Address(cut.port).url, SOURCE, WORK, SINK_TEXT)) as engine:
                for share in (0.1, 0.3, 0.5, 0.7):
                    await until(lambda share=share: settled(engine) > share * COUNT)
                    await asyncio.to_thread(cut.break_connections)
                await until_async(lambda: all_came(client), 60)
            await check(client, [engine])


@pytest.mark.parametrize("direction", ["requests", "answers", "both"])
async def test_a_network_that_is_silent(tmp_path, monkeypatch, direction):
    """Nothing passes for longer than `ack_wait`; what comes again meanwhile is known."""
    monkeypatch.setattr(connection_module, "_PING_S", 0.3)
    monkeypatch.setattr(pulling_module, "_SILENCE_S", 0.5)
    with NatsServer(tmp_path) as server, Cut(server.port) as cut:
        async with filled(server) as client:
            async with running(text(Address(cut.port).url, SOURCE, WORK, SINK_TEXT)) as engine:
                await until(lambda: settled(engine) > 0.3 * COUNT)
                await asyncio.to_thread(cut.stall, direction != "answers", direction != "requests")
                await asyncio.sleep(2.5)  # for the server to give up waiting
                await asyncio.to_thread(cut.heal)
                await until_async(lambda: all_came(client), 60)
            await check(client, [engine])


async def test_two_programs_of_which_one_dies(tmp_path):
    """They share the messages; what one had in hand goes to the other."""
    with NatsServer(tmp_path) as server:
        async with filled(server) as client:
            file = text(server.url, SOURCE + "batch = 20\n", WORK, SINK_TEXT)
            async with running(file) as stays:
                async with running(file) as dies:
                    await until(lambda: settled(dies) > 20 and settled(stays) > 20)
                    dies.force("killed")
                await until_async(lambda: all_came(client), 60)
            await check(client, [stays, dies])
            assert outcomes(dies.report()).get("delivered", 0) + outcomes(stays.report())["delivered"] >= COUNT


KILLED = """
import asyncio, os
from dagflow.record import Ticket
from dagflow.sources.nats import Nats
from dagflow.testing import build_context, build_plugin
async def main():
    source = build_plugin(Nats, None, servers=["URL"], stream="IN", consumer="c", ack_wait="300ms", batch=1)
    await source.open(build_context("in"))
    async for record in source.records():
        if record["input"] == "1":
            os._exit(9)
        record.ticket = Ticket(record, None)
        source.settle(record, "delivered")
asyncio.run(main())
"""


async def test_a_record_that_kills(tmp_path):
    """Whoever takes it dies; after some times nobody takes it any more, and the others go on."""
    with NatsServer(tmp_path) as server:
        async with filled(server, 5) as client:
            for _ in range(3):
                program = KILLED.replace("URL", server.url)
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", program, cwd=Path(__file__).parents[2]
                )
                assert await process.wait() == 9
            top = f'[dead_letters]\npath = "{tmp_path}/letters.db"'
            report = await run(text(server.url, 'until = "empty"\nmax_redeliveries = 2\n', top=top))
            found = outcomes(report)
            assert found["failed"] == 1
            assert found.get("delivered", 0) <= 4
            assert [error["code"] for error in report["errors"]] == ["redelivered"]
            assert await all_came(client)


async def test_a_full_stream_holds_everything_up(tmp_path):
    """While nobody takes from `OUT`, nothing more is taken from `IN`; then all comes through."""
    with NatsServer(tmp_path) as server:
        async with filled(server, 100, max_msgs=10, discard="new", retention="workqueue") as client:
            file = text(server.url, SOURCE, WORK, SINK_TEXT, more="max_in_flight = 20")
            async with running(file) as engine:
                await until(lambda: settled(engine) == 10 and engine.report()["in_flight"] == 20)
                got = []
                taker = await client.js.pull_subscribe("out.x", "taker", stream="OUT")
                while len(got) < 100:
                    for message in await taker.fetch(5, timeout=20):
                        got.append(int(message.data))
                        await message.ack()
                await until_async(lambda: all_came(client), 60)
            assert sorted(got) == list(range(100))
            assert outcomes(engine.report()) == {"delivered": 100}


async def test_a_cluster_that_loses_its_leader(tmp_path):
    """Of streams with three replicas; the others go on."""
    with NatsCluster(tmp_path) as cluster:
        seed = next(iter(cluster.servers.values()))
        servers = '", "'.join(cluster.urls)
        async with client_of(seed) as client:
            await client.make("IN", ("in.>",), num_replicas=3)
            await client.make("OUT", ("out.>",), num_replicas=3)
            await client.fill(200, "in.x")
            async with running(text(servers, SOURCE, WORK, SINK_TEXT)) as engine:
                await until(lambda: settled(engine) > 50)
                await asyncio.to_thread(cluster.kill_leader_of, "IN")
                await until(lambda: settled(engine) > 120, 40)
                await asyncio.to_thread(cluster.start)
                await until_async(lambda: all_came(client), 60)
            await check(client, [engine], 200)
