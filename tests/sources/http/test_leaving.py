"""Callers who leave: what nobody waits for is taken out of the pipeline, wherever it is, and its connections close."""

from __future__ import annotations

import asyncio
import time

import pytest
from peers.scripted_server import HOLD, Reply, ScriptedServer, delta, events
from service import CHAT, PLAIN, served, until

pytestmark = pytest.mark.anyio
PROMPT_S = 0.5  # 50 ms is the promise; a busy machine may be late
PATHS = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"prompt": "a"},
    "/v1/records": CHAT,
}


def asking(url, more="", stage=""):
    """A service whose only slot asks a model server."""
    worker = f'type = "openai"\nmodel = "tiny"\nbase_url = "{url}/v1"'
    text = PLAIN.replace('type = "echo"', worker).replace('listen = "127.0.0.1:0"', f'listen = "127.0.0.1:0"\n{more}')
    return text.replace('worker = "main"', f'worker = "main"\nconcurrency = 1\n{stage}')


async def leave(asked):
    """Close the connection of a request."""
    asked.cancel()
    await asyncio.wait([asked])
    return time.monotonic()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("script", [[HOLD], [b"", HOLD]], ids=["before-headers", "before-the-first-token"])
async def test_before_the_first_token(path, stream, script):
    """The model's connection closes, the record is cancelled, and the slot is free."""
    body = {**PATHS[path], "stream": True} if stream and path != "/v1/records" else PATHS[path]
    with ScriptedServer() as server:
        server.will(Reply(script, 200, {"Content-Type": "text/event-stream" if stream else "application/json"}))
        async with served(asking(server.url)) as service:
            asked = asyncio.ensure_future(service.ask(path, body))
            await until(lambda: server.requests)
            left = await leave(asked)
            await until(lambda: server.left)
            assert server.left[0] - left < PROMPT_S
            await until(lambda: not service.engine.report()["in_flight"])
            assert (await service.chat()).status == 200
    assert service.report["outcomes"]["cancelled"] == 1


@pytest.mark.parametrize("script", [[HOLD], [b'{"data"', HOLD]], ids=["before-headers", "before-the-end"])
async def test_embeddings(script):
    """As before; and one that waits in an edge for the slot leaves the edge."""
    with ScriptedServer() as server:
        server.will(Reply(script, 200, {"Content-Type": "application/json"}))
        async with served(asking(server.url).replace('type = "inference"', 'type = "embed"')) as service:
            asked, waits = (asyncio.ensure_future(service.ask("/v1/embeddings", {"input": text})) for text in "ab")
            await until(lambda: server.requests and service.engine.report()["edges"]["api -> ask"]["buffered"])
            left = await leave(waits)
            await until(lambda: not service.engine.report()["edges"]["api -> ask"]["buffered"])
            assert time.monotonic() - left < PROMPT_S
            left = await leave(asked)
            await until(lambda: server.left)
            assert server.left[0] - left < PROMPT_S
            await until(lambda: not service.engine.report()["in_flight"])
    assert service.report["outcomes"]["cancelled"] == 2
    assert len(server.requests) == 1


async def test_in_mid_stream():
    """As before."""
    with ScriptedServer() as server:
        server.will(events(delta("one"), HOLD, done=False))
        async with served(asking(server.url)) as service:
            async with service.session.post(
                f"{service.url}/v1/chat/completions", json={**CHAT, "stream": True}
            ) as response:
                assert b"one" in await response.content.readuntil(b"\n\n")
                left = time.monotonic()
                response.close()
            await until(lambda: server.left)
            assert server.left[0] - left < PROMPT_S
            await until(lambda: not service.engine.report()["in_flight"])
    assert service.report["outcomes"]["cancelled"] == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_in_an_edge(stream):
    """The record leaves the queue before its turn comes; nobody is asked for it."""
    with ScriptedServer() as server:
        server.will(Reply([HOLD], 200, {"Content-Type": "application/json"}))
        async with served(asking(server.url)) as service:
            first = asyncio.ensure_future(service.chat())
            await until(lambda: server.requests)
            second = asyncio.ensure_future(service.chat(stream=stream))
            await until(lambda: service.engine.report()["edges"]["api -> ask"]["buffered"] == 1)
            await leave(second)
            await until(lambda: service.engine.report()["edges"]["api -> ask"]["cancelled"] == 1)
            assert service.engine.report()["in_flight"] == 1
            await leave(first)
    assert len(server.requests) == 1
    assert service.report["outcomes"]["cancelled"] == 2


async def test_at_the_door():
    """Who waits for acceptance was no record yet."""
    text = asking("http://127.0.0.1:1", "max_waiting = 5").replace('to = "ask" }', 'to = "ask", capacity = 1 }', 1)
    text = text.replace('type = "openai"', 'type = "echo"\ndelay = "1h"').replace('model = "tiny"', "")
    text = text.replace('base_url = "http://127.0.0.1:1/v1"', "")
    async with served(text.replace("[pipeline]", '[pipeline]\ndrain_timeout = "10ms"')) as service:
        asked = []
        for number in range(5):
            asked.append(asyncio.ensure_future(service.chat()))
            await until(lambda n=number: service.engine.report()["accepted"] + service.source._door.waiting > n)
            await until(lambda: service.engine.report()["nodes"]["ask"]["busy"])
        accepted = service.engine.report()["accepted"]
        await leave(asked[-1])
        await until(lambda: service.source._door.waiting == 5 - accepted - 1)
        service.engine.stop("test")
        await asyncio.wait(asked)
    assert service.report["accepted"] == accepted


async def test_going_on_without_a_caller():
    """By choice; its answer is read by nobody, and holds nobody up."""
    with ScriptedServer() as server:
        many = [delta(f"{number} ") for number in range(500)]
        server.will(events(delta("one"), 0.05, *many, delta(finish_reason="stop")))
        async with served(asking(server.url, 'on_disconnect = "continue"')) as service:
            asked = asyncio.ensure_future(service.chat(stream=True))
            await until(lambda: server.requests)
            await leave(asked)
            await until(lambda: service.engine.report()["outcomes"]["delivered"] == 1)
    assert server.left == []


async def test_a_shared_call_ends_with_its_last_listener():
    """Two callers ask the same; the first to leave changes nothing for the other."""
    with ScriptedServer() as server:
        server.will(events(delta("one"), HOLD, done=False))
        text = asking(server.url, stage="dedup = true").replace("concurrency = 1", "concurrency = 4")
        async with served(text) as service:
            url, body = f"{service.url}/v1/chat/completions", {**CHAT, "stream": True}
            first = await service.session.post(url, json=body)
            second = await service.session.post(url, json=body)
            for response in (first, second):
                assert b"one" in await response.content.readuntil(b"\n\n")
            assert len(server.requests) == 1
            first.close()
            await until(lambda: service.engine.report()["outcomes"]["cancelled"] == 1)
            assert server.left == []
            second.close()
            await until(lambda: server.left)


async def test_a_reader_that_takes_nothing_is_cut_off():
    """Its model server is slowed down first; after `write_timeout` the record ends."""
    part = delta("x" * 20_000)
    with ScriptedServer() as server:
        server.will(events(*[part] * 2000, delta(finish_reason="stop")))
        async with served(asking(server.url, 'write_timeout = "300ms"')) as service:
            host, port = str(service.source.address).split(":")
            _, writer = await asyncio.open_connection(host, int(port), limit=1024)
            body = b'{"messages": [{"role": "user", "content": "a"}], "stream": true}'
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await until(lambda: service.engine.report()["outcomes"]["cancelled"] == 1)
            writer.transport.abort()
    assert len(server.left) == 1


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/records"])
async def test_a_reader_that_takes_nothing_of_a_whole_answer_is_cut_off(path):
    """Nobody else would end its connection."""
    text = PLAIN.replace('listen = "127.0.0.1:0"', 'listen = "127.0.0.1:0"\nwrite_timeout = "300ms"')
    body = b'{"messages": [{"role": "user", "content": "%s"}]}' % (b"x" * 7_000_000)
    async with served(text) as service:
        host, port = str(service.source.address).split(":")
        _, writer = await asyncio.open_connection(host, int(port), limit=1024)
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await until(lambda: service.engine.report()["outcomes"]["delivered"] == 1)
        await until(lambda: not service.source._listener._server.connections)
        writer.transport.abort()


async def test_silence_is_kept_alive_by_comments():
    """A first token that is long in coming: the status goes out, and an error is an event then."""
    with ScriptedServer() as server:
        server.will(Reply([b"", 0.3, b'{"error": "odd"}'], 400, {"Content-Type": "application/json"}))
        async with served(asking(server.url, 'ping_interval = "50ms"')) as service:
            reply = await service.chat(stream=True)
    assert reply.status == 200
    assert reply.body.startswith(b": ping\n\n")
    assert [e if e == "[DONE]" else e["error"]["code"] for e in reply.events] == ["worker-refused", "[DONE]"]
