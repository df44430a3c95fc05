"""Workers that ask a server, in whole pipelines: what users see when something is wrong, and cancellation."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time

import pytest
from peers.scripted_server import HOLD, Reply, ScriptedServer, delta, events, json_reply
from rigs import SILENT

from dagflow import Record
from dagflow.compile import compile_text
from dagflow.embed import open_plan
from dagflow.engine.engine import Engine
from dagflow.engine.probe import probe_workers

pytestmark = pytest.mark.anyio
SECRET = "sk-very-secret-1234"
TOO_LONG = {"error": {"message": f"maximum context length is 8 for {SECRET}", "code": "context_length_exceeded"}}


@pytest.fixture
def server():
    """Serve for one test."""
    with ScriptedServer() as server:
        yield server


def plan_of(server, tmp_path, worker="", url=None):
    """Compile a pipeline that asks the server one question."""
    (tmp_path / "in.jsonl").write_text('{"prompt": "Why?"}\n')
    return compile_text(f"""
[pipeline]
edges = [{{ from = "in", to = "ask" }}, {{ from = "ask", to = "out" }}]
[sources.in]
type = "jsonl"
path = "{tmp_path}/in.jsonl"
fields = ["prompt"]
[stages.ask]
type = "inference"
worker = "main"
concurrency = 1
[sinks.out]
type = "reply"
[workers.main]
type = "openai"
base_url = "{url or server.url}/v1"
model = "tiny"
api_key = "{SECRET}"
{worker}
[dead_letters]
path = "{tmp_path}/letters.db"
""")


@pytest.mark.parametrize(
    ("reply", "code", "says"),
    [
        (json_reply({"error": {"message": f"bad key {SECRET}"}}, 401), "worker-refused", "set `api_key`"),
        (json_reply({"detail": "Not Found"}, 404), "worker-refused", "look at `base_url`"),
        (json_reply({"error": {"message": "no model `tiny`"}}, 404), "worker-refused", "set `model`"),
        (json_reply(TOO_LONG, 400), "worker-context-window", "too long for the model"),
        (Reply([b"<html>"]), "worker-protocol", "`<html>`"),
    ],
)
async def test_what_is_wrong_is_told_and_the_record_kept(server, tmp_path, reply, code, says):
    """The message names worker, cause and remedy; the dead letter has the record; nothing has the key."""
    server.will(reply)
    report = await Engine(plan_of(server, tmp_path), log=SILENT).run()
    [fault] = report["errors"]
    assert (report["outcomes"]["failed"], report["dead_letters"]["kept"], fault["code"]) == (1, 1, code)
    assert "`main`" in fault["message"]
    assert says in fault["message"]
    with sqlite3.connect(tmp_path / "letters.db") as database:
        kept = "\n".join(database.iterdump())
    database.close()
    assert "Why?" in kept
    assert SECRET not in kept + json.dumps(report)


@pytest.mark.parametrize("phase", ["queued", "before-headers", "before-the-first-chunk", "in-mid-stream"])
async def test_cancelling_closes_the_connection_at_once(server, tmp_path, phase):
    """Within 50 ms by design; what is queued never reaches the server."""
    held = {
        "before-the-first-chunk": events(b": begun\n\n", HOLD),
        "in-mid-stream": events(delta("a"), HOLD),
    }.get(phase, Reply([HOLD]))
    server.will(held)
    async with open_plan(plan_of(server, tmp_path)) as pipeline:
        first = asyncio.ensure_future(_read(pipeline))
        await server.wait_for(lambda server: server.requests)
        if phase == "queued":
            second = asyncio.ensure_future(_read(pipeline))
            await _cancel_soon(second)
            assert (len(server.requests), server.left) == (1, [])
        await _cancel_soon(first)
        cancelled = time.monotonic()
        await server.wait_for(lambda server: server.left)
        assert server.left[0] - cancelled < 0.5
    assert len(server.requests) == 1


async def _read(pipeline):
    async for _ in pipeline.stream(Record({"prompt": "Why?"})):
        pass


async def _cancel_soon(task):
    await asyncio.sleep(0.02)  # for what the server has sent to arrive, which nothing tells
    task.cancel()
    await asyncio.wait([task])


async def test_probes_of_a_file(server, tmp_path):
    """Each finding says what is wrong, without the key."""
    [found] = await probe_workers(plan_of(server, tmp_path), 5.0)
    assert (found.works, found.text) == (True, "model `tiny` is served")
    refused = json_reply({"error": {"message": f"bad key {SECRET}"}}, 401)
    server.will(refused, refused)
    [found] = await probe_workers(plan_of(server, tmp_path), 5.0)
    assert not found.works
    assert "set `api_key`" in found.text
    assert SECRET not in found.text
