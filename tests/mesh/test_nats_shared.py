"""`[shared]`: programs with the same limit take no more than that together, from one server that counts."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from mesh_rig import make, running
from peers.models import asked
from peers.nats_server import NatsServer
from peers.processes import Child, wait_until
from peers.scripted_server import ScriptedServer

from dagflow.admin.readiness import Readiness
from dagflow.compile import compile_text
from dagflow.engine.engine import Engine
from dagflow.errors import OpenFailed
from dagflow.mesh.needs import needs_of
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


def check_limit(times, limit):
    """See that no more than `limit` came in a second, though each may have been on its way for a while."""
    assert max(sum(begin <= at < begin + 0.5 for at in times) for begin in times) <= limit
    assert len(times) <= limit * (max(times) - min(times) + 2)


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
    check_limit(upstream.times, 30)
    shares = [engine.report()["workers"]["main"]["calls"] for engine in engines]
    assert min(shares) > 10


async def test_a_bucket_that_is_not_there(server, upstream):
    """Is told, with the remedy; one that the file names is looked for."""
    file = text(server, upstream)
    with pytest.raises(OpenFailed, match=r"bucket `dagflow-p`.*`dagflow mesh apply` creates"):
        await Engine(compile_text(file), log=SILENT).run()
    await make(file)
    named = file.replace('transport = "bus"', 'transport = "bus"\nbucket = "mine"')
    with pytest.raises(OpenFailed, match=r"bucket `mine`"):
        await Engine(compile_text(named), log=SILENT).run()
    named = file.replace('transport = "bus"', 'transport = "other"') + "[transports.other]\ntype = 'nats'\n"
    [need] = [need for need in needs_of(compile_text(named)) if need.name == "KV_dagflow-p"]
    assert need.options.servers == ["nats://127.0.0.1:4222"]


async def test_three_programs_of_which_one_is_killed_again_and_again(server, upstream, tmp_path):
    """What it had leased stays leased, and the others go on."""
    file = text(server, upstream)
    await make(file)
    (tmp_path / "p.toml").write_text(file)
    command = [sys.executable, "-m", "dagflow", "run", "-q", tmp_path / "p.toml"]
    children = [Child(command, tmp_path / f"{number}.log", lambda: True) for number in range(3)]
    try:
        for child in children:
            child.start()
        for _ in range(3):
            seen = len(upstream.times)
            await asyncio.to_thread(wait_until, lambda seen=seen: len(upstream.times) >= seen + 40, 60)
            children[0].kill()
            children[0].start()
    finally:
        for child in children:
            child.kill()
    check_limit(upstream.times, 30)


async def test_a_limit_for_each_key(server, upstream):
    """Has a ledger of its own; two programs share each."""
    file = text(server, upstream, 'limits = { requests = "10/s", tokens = "9000 tokens/s", key = "n % 2" }')
    await make(file)
    engines = [Engine(compile_text(file), log=SILENT) for _ in range(2)]
    async with running(*engines):
        await asyncio.to_thread(wait_until, lambda: len(upstream.times) >= 120, 60)
    keys = [int(asked(seen.json).split()[-1]) % 2 for seen in upstream.requests]
    for key in (0, 1):
        check_limit([at for at, of in zip(upstream.times, keys, strict=True) if of == key], 10)


async def test_a_store_that_is_away(server, upstream):
    """What was leased is used up, then calls wait, until it is there again."""
    file = text(server, upstream)
    await make(file)
    engine = Engine(compile_text(file), log=SILENT)
    async with running(engine):
        await asyncio.to_thread(wait_until, lambda: len(upstream.times) >= 30, 60)
        server.kill()
        leasing, readiness = engine.wiring.leasing, Readiness(engine)
        await asyncio.to_thread(wait_until, lambda: leasing.trouble is not None, 60)
        assert [reason.what for reason in readiness.reasons()] == ["[shared]"]
        before = len(upstream.times)
        server.start()
        await asyncio.to_thread(wait_until, lambda: leasing.trouble is None, 60)
        assert not readiness.reasons()
        await asyncio.to_thread(wait_until, lambda: len(upstream.times) >= before + 30, 60)
    check_limit(upstream.times, 30)


async def test_processes_of_one_program(server, upstream, tmp_path):
    """Share as programs do: the limit is not divided, so that one of them may have all of it."""
    file = text(server, upstream, source="count = 90") + "[runtime]\nprocesses = 2\n"
    await make(file)
    (tmp_path / "p.toml").write_text(file)
    run = Child([sys.executable, "-m", "dagflow", "run", "-q", tmp_path / "p.toml"], tmp_path / "log", lambda: True)
    run.start()
    await asyncio.to_thread(wait_until, lambda: run.pid is None, 60)
    assert len(upstream.times) == 90
    check_limit(upstream.times, 30)


async def test_a_budget(server, upstream):
    """Is one for all programs, one behind and beside the other: all of it is spent, no more, then all refuse."""
    costs = "prices = { input = 0, output = 1000000 }\nbudget = { reject = 200 }"
    asks = 'worker = "main"\nparameters = { max_tokens = 2 }'
    first = text(server, upstream, costs, "count = 30").replace('worker = "main"', asks)
    await make(first)
    report = await Engine(compile_text(first), log=SILENT).run()
    assert report["outcomes"]["delivered"] == 30
    spent = report["workers"]["main"]["cost"]
    engines = [Engine(compile_text(first.replace("count = 30", "")), log=SILENT) for _ in range(2)]
    async with running(*engines):
        failed = [lambda engine=engine: engine.report()["outcomes"]["failed"] for engine in engines]
        await asyncio.to_thread(wait_until, lambda: all(count() for count in failed), 60)
    spent += sum(engine.report()["workers"]["main"]["cost"] for engine in engines)
    assert 190 < spent <= 200


async def test_a_server_of_a_worker(server, upstream, tmp_path):
    """Shares its limits as pipelines do, so that it wants the bucket, too."""
    file = text(server, upstream)
    (tmp_path / "p.toml").write_text(file)
    command = [sys.executable, "-m", "dagflow", "worker", "serve", "p.toml", "--listen", "127.0.0.1:0"]
    run = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 50}
    failed = await asyncio.to_thread(subprocess.run, command, **run)
    assert failed.returncode == 1
    assert "bucket `dagflow-p`" in failed.stderr
    await make(file)
    child = Child([*command[:-3], tmp_path / "p.toml", *command[-2:]], tmp_path / "log", lambda: True)
    child.start()
    await asyncio.to_thread(wait_until, lambda: "127.0.0.1:" in (tmp_path / "log").read_text())
    child.stop()
