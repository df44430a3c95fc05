"""One pipeline in three programs, of which some are killed, cut off, or lose their server under load.

After each, what the last one wrote is counted by number: nothing that was accepted is missing. A program that was
killed tells no books; where all live, the books are summed over all of them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter

import pytest
from mesh_rig import check_books, delivered, make, nats_bus, part, running, text
from peers.cut import Cut
from peers.nats_server import NatsCluster, NatsServer
from peers.processes import Child, wait_until
from service import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

QUICK = 'ack_wait = "1s"\nmax_redeliveries = 1000\n'
COUNT = 1500


def file_of(url, folder, count=COUNT):
    """The file of a run whose last node writes the numbers of its records."""
    sink = f'type = "jsonl"\npath = "{folder / "out.jsonl"}"\nmode = "append"\nfields = ["n"]'
    return text(nats_bus(url, QUICK), sink=sink, first=", capacity = 300").replace("count = 200", f"count = {count}")


def written(folder):
    """How often each number was written."""
    path = folder / "out.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return Counter(json.loads(line)["n"] for line in lines if line.endswith("\n"))


def program(folder, *nodes):
    """Some nodes of the file, in a process of their own."""
    log = folder / f"{'-'.join(nodes)}.log"
    command = [sys.executable, "-m", "dagflow", "run", folder / "p.toml", "--only", ",".join(nodes)]
    return Child([*command, "--report", folder / f"{nodes[0]}.json"], log, lambda: True)


def report_of(folder, name):
    """What a program told at its end."""
    return json.loads((folder / f"{name}.json").read_text())


async def test_a_program_that_is_killed_again_and_again(tmp_path):
    """The middle one, by signal 9; what it had is taken over anew, and the next stream knows what it has already."""
    with NatsServer(tmp_path / "nats") as server:
        text = file_of(server.url, tmp_path)
        (tmp_path / "p.toml").write_text(text)
        await make(text)
        first, middle, last = (program(tmp_path, name) for name in ("in", "work", "out"))
        try:
            for child in (first, middle, last):
                child.launch()
            for share in (0.1, 0.3, 0.5, 0.7):
                await asyncio.to_thread(wait_until, lambda share=share: len(written(tmp_path)) > share * COUNT)
                middle.kill()
                middle.launch()
            await asyncio.to_thread(wait_until, lambda: len(written(tmp_path)) == COUNT)
        finally:
            for child in (first, middle, last):
                child.stop()
    assert set(written(tmp_path)) == set(range(COUNT))
    assert set(written(tmp_path).values()) == {1}
    assert report_of(tmp_path, "in")["handed_off"] == report_of(tmp_path, "in")["accepted"] == COUNT
    end = report_of(tmp_path, "out")
    assert end["taken_over"] == end["outcomes"]["delivered"] == COUNT


async def test_a_server_that_is_killed(tmp_path):
    """Its store outlives it; the programs wait for it, and their books agree."""
    with NatsServer(tmp_path / "nats") as server:
        text = file_of(server.url, tmp_path)
        await make(text)
        engines = [part(text, name) for name in ("in", "work", "out")]
        async with running(*engines):
            for share in (0.2, 0.6):
                await until(lambda share=share: delivered(*engines) > share * COUNT)
                await asyncio.to_thread(server.restart)
            await until(lambda: delivered(*engines) >= COUNT, 60)
    assert set(written(tmp_path)) == set(range(COUNT))
    assert delivered(*engines) == sum(written(tmp_path).values()) == COUNT


async def test_a_network_that_is_cut_and_healed(tmp_path):
    """The middle program loses its connections again and again."""
    with NatsServer(tmp_path / "nats") as server, Cut(server.port) as cut:
        text = file_of(server.url, tmp_path)
        await make(text)
        away = text.replace(server.url, f"nats://127.0.0.1:{cut.port}")
        engines = [part(text, "in"), part(away, "work"), part(text, "out")]
        async with running(*engines):
            for share in (0.1, 0.4, 0.7):
                await until(lambda share=share: delivered(*engines) > share * COUNT)
                await asyncio.to_thread(cut.break_connections)
            await until(lambda: delivered(*engines) >= COUNT, 60)
    assert set(written(tmp_path)) == set(range(COUNT))
    assert delivered(*engines) == sum(written(tmp_path).values()) == COUNT


async def test_a_cluster_that_loses_its_leader(tmp_path):
    """The others elect one, and nothing that was stored is lost."""
    with NatsCluster(tmp_path / "nats") as cluster:
        servers = json.dumps(cluster.urls)
        text = file_of("x", tmp_path).replace('["x"]', servers).replace(QUICK, QUICK + "replicas = 3\n")
        await make(text)
        engines = [part(text, name) for name in ("in", "work", "out")]
        async with running(*engines):
            await until(lambda: delivered(*engines) > 0.3 * COUNT)
            await asyncio.to_thread(cluster.kill_leader_of, "p_EDGE_work_TO_out")
            await until(lambda: delivered(*engines) >= COUNT, 60)
    assert set(written(tmp_path)) == set(range(COUNT))


async def test_a_slow_end_holds_back_everybody(tmp_path):
    """No more is under way than the edges may hold; the books of all agree."""
    with NatsServer(tmp_path / "nats") as server:
        text = file_of(server.url, tmp_path, 400).replace('out", via = "bus"', 'out", via = "bus", capacity = 5')
        await make(text)
        engines = [part(text, name) for name in ("in", "work", "out")]
        async with running(*engines[:2]):
            await until(lambda: engines[1].report()["handed_off"] == 5)
            held = engines[1].report()["in_flight"]
            async with running(engines[2]):
                await until(lambda: delivered(*engines) == 400)
        assert held < 100
    check_books(*engines)
