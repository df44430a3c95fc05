"""The official Node client of OpenAI, unchanged, against a service."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from peers.node_packages import HERE, node_packages
from peers.scripted_server import HOLD, ScriptedServer, delta, events
from service import PLAIN, served, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


async def run(case: str, service, until_then=lambda: True):
    """Run one case of the client's; gives what it got. It is told when a condition holds."""
    packages: Path = await asyncio.to_thread(node_packages)
    process = await asyncio.create_subprocess_exec(
        "node",
        str(HERE / "openai_client.mjs"),
        case,
        service.url,
        env={**os.environ, "NODE_PACKAGES": str(packages)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await until(until_then)
    output, errors = await process.communicate(b"now")
    assert process.returncode == 0, errors.decode()
    return json.loads(output)


def asking(url):
    """A service that asks a model server."""
    return PLAIN.replace('type = "echo"', f'type = "openai"\nmodel = "tiny"\nbase_url = "{url}/v1"')


async def test_whole_and_streamed():
    """Chats, completions and models; the client's own helper puts a stream together."""
    text = PLAIN.replace("127.0.0.1:0", '127.0.0.1:0"\nmodels = ["m"]#')
    async with served(text) as service:
        whole, stream, helped = [await run(case, service) for case in ("whole", "stream", "accumulated")]
    assert whole == {"text": "one two three", "usage": 6, "completion": "one two", "models": ["m"]}
    assert stream == {"text": "one two three", "usage": 6, "texts": ["a", " b"]}
    assert helped == {"text": "one two three", "finish": "stop"}


async def test_embeddings():
    """As the client asks for them: packed in base64."""
    with ScriptedServer() as server:
        async with served(asking(server.url).replace('type = "inference"', 'type = "embed"')) as service:
            lengths = (await run("embeddings", service))["lengths"]
    assert len(lengths) == 2
    assert lengths[0] == lengths[1] > 0


async def test_errors_and_retries():
    """An error is the client's own for it; what may be tried again is, as often as the client is set to."""
    failing = PLAIN.replace('type = "echo"', 'type = "echo"\nerror_rate = 1.0\nerror = "KIND"')
    async with served(failing.replace("KIND", "context_window")) as service:
        found = await run("error", service)
    assert (found["name"], found["status"]) == ("BadRequestError", 400)
    assert found["code"]
    assert found["id"].startswith("req_")
    async with served(failing.replace("KIND", "unavailable")) as service:
        found = await run("retries", service)
    assert (found["name"], found["status"]) == ("InternalServerError", 502)
    assert service.report["accepted"] == 3


async def test_who_leaves():
    """Breaking a stream off, and aborting a request, end the call of the model."""
    with ScriptedServer() as server:
        server.will(events(delta("one"), HOLD, done=False), events(HOLD, done=False))
        async with served(asking(server.url)) as service:
            assert await run("leave", service) == {"first": "one"}
            await until(lambda: len(server.left) == 1)
            assert (await run("abort", service, lambda: len(server.requests) == 2))["name"] == "APIUserAbortError"
            await until(lambda: len(server.left) == 2)
    assert service.report["outcomes"]["cancelled"] == 2
