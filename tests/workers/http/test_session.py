"""Sessions: connections used again or closed at once, redirects, certificates, and secrets that stay secret."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
import structlog
import trustme
from alone import build, opened
from peers.scripted_server import HOLD, Reply, ScriptedServer, delta, events, json_reply

from dagflow.errors import PluginError, WorkerError
from dagflow.exchange import Request
from dagflow.workers.http import session as session_module
from dagflow.workers.openai import OpenAI

pytestmark = pytest.mark.anyio
ASKED = Request(prompt="Why?")
ARRIVAL_S = 0.02  # for what the server has sent to arrive, which nothing tells
SECRET = "sk-very-secret-1234"


@pytest.fixture
def server():
    """Serve for one test."""
    with ScriptedServer() as server:
        yield server


def worker(url, **options):
    """Build a worker that asks there, opened for a block."""
    return opened(build(OpenAI, **{"base_url": f"{url}/v1", "model": "tiny", **options}), name="main")


async def failure(url, **options):
    """Give the error of a call."""
    async with worker(url, **options) as one:
        with pytest.raises(WorkerError) as caught:
            await one.infer(ASKED)
    return caught.value


async def read(stream, count=None):
    """Read so many chunks, or all, and close the stream."""
    async for _ in stream:
        count = None if count is None else count - 1
        if count == 0:
            break
    await stream.aclose()


async def until(condition):
    """Wait until something holds."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def test_connections_are_used_again(server):
    """By whole answers, errors and streams, one after the other."""
    server.will(json_reply({"error": "odd"}, 400))
    async with worker(server.url) as one:
        with pytest.raises(WorkerError, match="odd"):
            await one.infer(ASKED)
        for _ in range(3):
            await one.infer(ASKED)
            await read(one.stream(ASKED))
            await until(lambda: not one._session._draining)
    assert len(server.requests) == 7
    assert len({seen.peer for seen in server.requests}) == 1


@pytest.mark.parametrize(
    "script",
    [
        Reply([HOLD]),
        Reply([b"", HOLD], 200, {"Content-Type": "application/json"}),
        Reply([b'{"choices": ', HOLD], 200, {"Content-Type": "application/json"}),
        Reply([b'{"error": ', HOLD], 500),
    ],
    ids=["before-headers", "before-body", "within-body", "within-error"],
)
@pytest.mark.parametrize("streams", [False, True])
async def test_a_cancelled_call_closes_its_connection(server, script, streams):
    """At once, whatever has come; and the next call is fine."""
    server.will(script)
    async with worker(server.url) as one:
        call = asyncio.ensure_future(read(one.stream(ASKED)) if streams else one.infer(ASKED))
        await server.wait_for(lambda server: server.requests)
        await asyncio.sleep(ARRIVAL_S)
        cancelled = time.monotonic()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await server.wait_for(lambda server: server.left)
        assert server.left[0] - cancelled < 0.5
        assert (await one.infer(ASKED)).text == "Why?"
    assert len({seen.peer for seen in server.requests}) == 2


@pytest.mark.parametrize("parts", [[], [b": ping\n\n"], [delta("a")]], ids=["headers", "ping", "chunk"])
async def test_a_cancelled_stream_closes_its_connection(server, parts):
    """Before its first chunk or behind it."""
    server.will(events(b": begun\n\n", *parts, HOLD))
    async with worker(server.url) as one:
        reading = asyncio.ensure_future(read(one.stream(ASKED)))
        await server.wait_for(lambda server: server.requests)
        await asyncio.sleep(ARRIVAL_S)
        cancelled = time.monotonic()
        reading.cancel()
        await asyncio.wait([reading])
        await server.wait_for(lambda server: server.left)
    assert server.left[0] - cancelled < 0.5


async def test_a_closed_stream_closes_its_connection(server):
    """Whoever reads no further needs nothing more."""
    server.will(events(delta("a"), HOLD))
    async with worker(server.url) as one:
        await read(one.stream(ASKED), 1)
        closed = time.monotonic()
        await server.wait_for(lambda server: server.left)
    assert server.left[0] - closed < 0.5


async def test_an_endless_body_is_not_waited_for(server):
    """What comes behind `[DONE]` matters to nobody."""
    server.will(events(delta("a", "stop"), b"data: [DONE]\n\n", HOLD, done=False))
    async with worker(server.url) as one:
        started = time.monotonic()
        await read(one.stream(ASKED))
        assert time.monotonic() - started < 0.5
    await server.wait_for(lambda server: server.left)


async def test_redirects_are_not_followed(server):
    """The key would travel along; where the server wants to send it is told without what may be secret there."""
    server.will(Reply([], 307, {"Location": "https://elsewhere.example/v1?token=1"}))
    error = await failure(server.url, api_key=SECRET)
    assert error.kind == "refused"
    assert "redirects to `https://elsewhere.example/v1` (307), which is not followed" in str(error)
    assert len(server.requests) == 1


async def test_no_secret_is_repeated(server):
    """Where a server sends the key back, or a header's value, in an error, an event or an odd answer."""
    words = f"bad key {SECRET} and Bearer other-secret"
    options = {"api_key": SECRET, "extra_headers": {"X-Other": "other-secret"}}
    for reply in (
        json_reply({"error": {"message": words, "code": words}}, 401),
        json_reply({"error": words}),
        Reply([words.encode()]),
        Reply([], 302, {"Location": f"/{SECRET}"}),
        Reply([words.encode()], 203),
    ):
        server.will(reply)
        error = await failure(server.url, **options)
        assert "***" in str(error)
        assert "secret" not in str(error)
    server.will(events(delta("a"), {"error": {"message": words}}))
    async with worker(server.url, **options) as one:
        with pytest.raises(WorkerError) as caught:
            await read(one.stream(ASKED))
    assert "secret" not in str(caught.value)


async def test_nobody_listens():
    """The place is named, and another attempt may do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
        error = await failure(f"http://{place}")
    assert (error.kind, error.retryable) == ("unavailable", True)
    assert f"no connection to `{place}` (Connection refused)" in str(error)
    assert "see to it that the server runs there" in str(error)


async def test_an_unknown_host():
    """Another attempt does not help, unless only the name server is silent."""
    error = await failure("http://nowhere.invalid")
    assert error.kind == "unavailable"
    assert "the host of `nowhere.invalid` has no address" in str(error)


async def test_a_host_that_does_not_answer(monkeypatch):
    """A connection has its time."""
    monkeypatch.setattr(session_module, "CONNECT_S", 0.05)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        place = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(place)
        error = await failure(f"http://127.0.0.1:{place[1]}")
        for filler in fillers:
            filler.close()
    assert (error.kind, error.retryable) == ("unavailable", True)
    assert "within 0.05 s" in str(error)


async def test_what_does_not_speak_http():
    """It is told as such."""

    async def answer(reader, writer):
        await reader.readline()
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        error = await failure(f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}")
    assert error.kind == "protocol"
    assert "does not speak HTTP" in str(error)


async def test_what_a_broken_head_says_is_shown_in_short():
    """On one line, and without the key that it repeats."""

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + SECRET.encode() + b"\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        error = await failure(f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}", api_key=SECRET)
    assert "Invalid header token" in str(error)
    assert SECRET not in str(error)
    assert "\n" not in str(error)


@pytest.fixture(scope="module")
def authority():
    """An authority of the tests' own."""
    return trustme.CA()


@pytest.fixture
def tls_server(authority):
    """Serve over TLS, with a certificate for 127.0.0.1."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with ScriptedServer(context) as server:
        yield server


async def test_certificates(tls_server, authority, tmp_path):
    """One that is not trusted is an error that a retry does not mend; `ca_file` does, or a loud `insecure_tls`."""
    error = await failure(tls_server.url)
    assert (error.kind, error.retryable) == ("unavailable", False)
    assert "is not trusted" in str(error)
    assert "set `ca_file`" in str(error)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with worker(tls_server.url, ca_file=str(tmp_path / "ca.pem")) as one:
        assert (await one.infer(ASKED)).text == "Why?"
        server_name = tls_server.url.replace("127.0.0.1", "localhost")
        error = await failure(server_name, ca_file=str(tmp_path / "ca.pem"))
        assert "name the host in `base_url` as the certificate does" in str(error)
    try:
        with structlog.testing.capture_logs() as logs:
            async with worker(tls_server.url, insecure_tls=True) as one:
                assert (await one.infer(ASKED)).text == "Why?"
    finally:
        structlog.reset_defaults()
    assert [line["event"] for line in logs] == ["tls_not_verified"]


async def test_tls_where_there_is_none(server):
    """The remedy is a letter less."""
    error = await failure(server.url.replace("http:", "https:"))
    assert (error.kind, error.retryable) == ("unavailable", False)
    assert "no TLS with" in str(error)


async def test_certificate_files_that_are_none(server, tmp_path):
    """The start stops, with the file's name."""
    (tmp_path / "odd.pem").write_text("nothing")
    for name, says in (("none.pem", "No such file"), ("odd.pem", "it holds no certificate in PEM")):
        with pytest.raises(PluginError, match=says):
            async with worker(server.url, ca_file=str(tmp_path / name)):
                pass
