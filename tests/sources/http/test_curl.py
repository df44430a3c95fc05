"""curl, as people try a service by hand."""

from __future__ import annotations

import asyncio
import json
import shutil

import pytest
from peers.scripted_server import HOLD, ScriptedServer, delta, events
from service import CHAT, PLAIN, served, until

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")]
JSON = ("-H", "Content-Type: application/json")
TOKEN = "a-token-of-the-test-1"


async def start(service, *options: str, path="/v1/chat/completions"):
    """Start curl."""
    command = ["curl", "-sS", "-N", "--max-time", "30", *options, f"{service.url}{path}"]
    return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.PIPE)


async def curl(service, *options: str, path="/v1/chat/completions", given=b""):
    """Run curl to its end; gives what it printed."""
    process = await start(service, *options, path=path)
    output, _ = await process.communicate(given)
    assert process.returncode == 0, output
    return output.decode()


def body(**more) -> tuple[str, ...]:
    """Options that send a chat."""
    return (*JSON, "-d", json.dumps({**CHAT, **more}))


async def test_answers():
    """Whole; in HTTP/1.0; compressed on its way in, and after a `100 Continue`; and streamed."""
    large = json.dumps({"messages": [{"role": "user", "content": "word " * 300_000}], "max_tokens": 2}).encode()
    async with served() as service:
        whole = [
            await curl(service, *body()),
            await curl(service, "-0", *body()),
            await curl(service, *JSON, "-H", "Expect: 100-continue", "--data-binary", "@-", given=large),
        ]
        streamed = await curl(service, *body(stream=True))
    texts = [json.loads(answer)["choices"][0]["message"]["content"] for answer in whole]
    assert texts == ["one two three", "one two three", "word word"]
    chunks = [line.removeprefix("data: ") for line in streamed.split("\n") if line.startswith("data: ")]
    assert chunks[-1] == "[DONE]"
    deltas = [json.loads(chunk)["choices"][0]["delta"].get("content") or "" for chunk in chunks[:-1]]
    assert "".join(deltas) == "one two three"


async def test_what_it_shows_of_an_error():
    """Status, headers and a body that says what to do."""
    auth = f'[auth]\ntokens = [{{ token = "{TOKEN}", tenant = "a" }}]'
    async with served(PLAIN + auth) as service:
        refused = await curl(service, "-i", *body())
        taken = await curl(service, "-i", "-H", f"Authorization: Bearer {TOKEN}", *body())
        form = await curl(service, "-i", "-H", f"Authorization: Bearer {TOKEN}", "-d", "a=b")
        looked = await curl(service, "-I", "-H", f"Authorization: Bearer {TOKEN}", path="/v1/models")
    assert refused.startswith("HTTP/1.1 401 ")
    assert "www-authenticate: bearer" in refused.lower()
    assert taken.startswith("HTTP/1.1 200 ")
    assert "x-dagflow-worker: main" in taken
    assert form.startswith("HTTP/1.1 415 ")
    assert looked.startswith("HTTP/1.1 405 ")


async def test_who_presses_control_c():
    """Ends the call of the model."""
    with ScriptedServer() as server:
        server.will(events(delta("one"), HOLD, done=False))
        text = PLAIN.replace('type = "echo"', f'type = "openai"\nmodel = "tiny"\nbase_url = "{server.url}/v1"')
        async with served(text) as service:
            process = await start(service, *body(stream=True))
            assert b"one" in await process.stdout.readuntil(b"one")
            process.terminate()
            await process.wait()
            await until(lambda: server.left)
            await until(lambda: not service.engine.report()["in_flight"])
    assert service.report["outcomes"]["cancelled"] == 1
