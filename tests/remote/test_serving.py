"""A worker behind the protocol, on loopback: what it answers, refuses, and gives up."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trustme
from desk import guarded
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from pydantic import ValidationError

from dagflow.completion import Completion
from dagflow.errors import PluginError, WorkerError
from dagflow.exchange import Chunk, Embeddings, Request, Usage
from dagflow.plugin import ModelWorker
from dagflow.redaction import Redactor
from dagflow.remote.protocol import SERVICE
from dagflow.remote.server import Security, WorkerServer
from dagflow.testing import Answer, Sample, ScriptedWorker, check_plugin
from dagflow.testing.alone import SILENT, build_context, build_plugin, opened
from dagflow.workers.echo import Echo
from dagflow.workers.grpc import Grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio
ASK = Request(prompt="Why?")
OPEN = Security()
SECRET = "sk-of-the-worker"


class Held(ModelWorker):
    """Never answers by itself; notes whether it was given up."""

    def __init__(self, chunks: int = 0) -> None:
        super().__init__()
        self.chunks = chunks
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        self.go = asyncio.Event()
        self.requests: list[Request] = []

    async def infer(self, request: Request) -> Completion:
        """Wait to be set free."""
        async for _ in self.stream(request):
            pass
        return Completion("done")

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """Give some chunks, then wait to be set free."""
        self.requests.append(request)
        self.asked.set()
        try:
            for _ in range(self.chunks):
                yield Chunk("a")
            await self.go.wait()
        finally:
            self.left.set()
        yield Chunk("z", "stop")

    async def embed(self, texts: Any) -> Embeddings:
        """Give the lengths."""
        return Embeddings([[float(len(text))] for text in texts], Usage(len(texts)))


@asynccontextmanager
async def serving(
    worker: ModelWorker, security: Security = OPEN, max_waiting: int = 8, **keys: Any
) -> AsyncIterator[tuple[WorkerServer, str]]:
    """Serve a worker for the block; give the server and its address."""
    server = WorkerServer(guarded(worker, **keys), security, max_waiting, time.monotonic, SILENT, Redactor([SECRET]))
    port = await server.start("127.0.0.1:0")
    try:
        yield server, f"127.0.0.1:{port}"
    finally:
        await server.close()


def asking(address: str, folder: Path | None = None, **options: Any) -> Any:
    """Open a worker that asks a server."""
    return opened(build_plugin(Grpc, folder, address=address, **options), build_context("far"))


async def soon(event: asyncio.Event) -> None:
    """Wait for what must come."""
    await asyncio.wait_for(event.wait(), 10)


async def test_whole_and_streamed() -> None:
    """With all that the answer says."""
    answers = [Answer("one two three", usage=Usage(5, 3, 2, 0.25))] * 2
    async with serving(ScriptedWorker(answers)) as (_, address), asking(address) as worker:
        whole = await worker.infer(ASK)
        chunks = [chunk async for chunk in worker.stream(ASK)]
    assert (whole.text, whole.finish_reason, whole.usage) == ("one two three", "stop", Usage(5, 3, 2, 0.25))
    assert [chunk.text for chunk in chunks] == ["one", " two", " three"]
    assert chunks[-1].usage == whole.usage


async def test_embeddings() -> None:
    """With their usage; a worker without refuses."""
    async with serving(Held()) as (_, address), asking(address) as worker:
        vectors = await worker.embed(["a", "bcd"])
    assert (vectors, vectors.usage) == ([[1.0], [3.0]], Usage(2))
    async with serving(ScriptedWorker()) as (_, address), asking(address) as worker:
        with pytest.raises(WorkerError, match="makes no embeddings") as caught:
            await worker.embed(["a"])
    assert caught.value.kind == "refused"


@pytest.mark.parametrize("kind", WorkerError.KINDS)
async def test_errors_keep_their_class(kind: str) -> None:
    """Whole, streamed, and in mid-stream."""
    error = WorkerError(kind, "says the server", retryable=True, retry_after=7.0)
    async with serving(ScriptedWorker([error, error])) as (_, address), asking(address) as worker:
        for ask in (worker.infer(ASK), anext(worker.stream(ASK))):
            with pytest.raises(WorkerError, match="says the server") as caught:
                await ask
            assert (caught.value.kind, caught.value.retryable, caught.value.retry_after) == (kind, True, 7.0)


async def test_a_stream_that_breaks_is_no_clean_end() -> None:
    """Its chunks come first."""
    async with serving(ScriptedWorker([Answer("a b c", cut_after=2)])) as (_, address), asking(address) as worker:
        chunks = []
        with pytest.raises(WorkerError, match="as scripted"):
            await _collect(worker, chunks)
    assert [chunk.text for chunk in chunks] == ["a", " b"]


async def _collect(worker: Any, chunks: list[Chunk]) -> None:
    async for chunk in worker.stream(ASK):
        chunks.append(chunk)


@pytest.mark.parametrize("phase", ["whole", "before the first chunk", "in mid-stream", "queued"])
async def test_a_cancelled_call_is_given_up_on_the_other_side(phase: str) -> None:
    """At once, whatever it was at."""
    held = Held(chunks=1 if phase == "in mid-stream" else 0)
    async with serving(held, max_in_flight=1) as (server, address), asking(address) as worker:
        before = asyncio.ensure_future(worker.infer(ASK)) if phase == "queued" else None
        if before is not None:
            await soon(held.asked)
        task = asyncio.ensure_future(worker.infer(ASK) if phase in ("whole", "queued") else _collect(worker, []))
        if phase == "queued":
            while not server._worker.waiting:
                await asyncio.sleep(0)
        else:
            await soon(held.asked)
        cancelled_at = time.monotonic()
        task.cancel()
        if phase == "queued":
            while server._worker.waiting:
                await asyncio.sleep(0)
        else:
            await soon(held.left)
        print(f"given up {1000 * (time.monotonic() - cancelled_at):.1f} ms later")
        assert time.monotonic() - cancelled_at < 5
        for one in filter(None, (task, before)):
            one.cancel()
            await asyncio.wait([one])


async def test_the_deadline_travels() -> None:
    """The least of the record's and the stage's; and a call past it is given up on both sides."""
    held = Held()
    async with serving(held) as (_, address), asking(address) as worker:
        deadline = worker.context.clock() + 60
        with pytest.raises(WorkerError) as caught:
            await worker.infer(Request(prompt="x", deadline=deadline, timeout_s=0.2))
        await soon(held.left)
    assert caught.value.kind == "timeout"
    assert 0 < held.requests[0].timeout_s < 0.3  # the wire has units to which gRPC rounds up


async def test_priority_session_and_names_travel() -> None:
    """They are for the server's own guards and logs."""
    scripted = ScriptedWorker(["x"])
    async with serving(scripted) as (_, address), asking(address, model="default") as worker:
        await worker.infer(Request(prompt="x", session="s", priority=4, metadata={"id": "r"}))
    [asked] = scripted.requests
    assert (asked.session, asked.priority, asked.metadata, asked.model) == ("s", 4, {"id": "r"}, "default")


async def test_the_token() -> None:
    """A wrong one, or none, is told with the remedy and without the token."""
    async with serving(ScriptedWorker(["x"]), Security(token="right")) as (_, address):
        async with asking(address, token="right") as worker:
            assert (await worker.infer(ASK)).text == "x"
            assert "answers at" in await worker.probe()
        for options in ({"token": "wrong-one"}, {}):
            async with asking(address, **options) as worker:
                for ask in (worker.infer(ASK), worker.probe(), anext(worker.stream(ASK)), worker.embed(["x"])):
                    with pytest.raises(WorkerError, match="another `token`") as caught:
                        await ask
                    assert caught.value.kind == "refused"
                    assert "wrong-one" not in str(caught.value)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs certificates here."""
    return trustme.CA()


def pem(folder: Path, authority: trustme.CA, name: str = "127.0.0.1") -> dict[str, bytes]:
    """Write a certificate with its key, and that of its authority; give them."""
    issued = authority.issue_cert(name)
    texts = {
        "cert.pem": b"".join(blob.bytes() for blob in issued.cert_chain_pems),
        "key.pem": issued.private_key_pem.bytes(),
        "ca.pem": authority.cert_pem.bytes(),
    }
    for file, text in texts.items():
        (folder / file).write_bytes(text)
    return texts


async def test_tls(tmp_path: Path, authority: trustme.CA) -> None:
    """An authority that is not trusted, and a name that does not fit, are told apart from a dead server."""
    texts = pem(tmp_path, authority)
    security = Security(certificate=texts["cert.pem"], key=texts["key.pem"])
    async with serving(ScriptedWorker(["x"] * 3), security) as (_, address):
        async with asking(address, tmp_path, tls=True, ca_file="ca.pem") as worker:
            assert (await worker.infer(ASK)).text == "x"
        for options in ({"tls": True}, {"tls": True, "ca_file": "ca.pem", "server_name": "elsewhere"}):
            async with asking(address, tmp_path, **options) as worker:
                with pytest.raises(WorkerError, match="do not agree on TLS") as caught:
                    await worker.infer(ASK)
                assert not caught.value.retryable


async def test_mutual_tls(tmp_path: Path, authority: trustme.CA) -> None:
    """A client without a certificate is not let in."""
    texts = pem(tmp_path, authority)
    security = Security(None, texts["cert.pem"], texts["key.pem"], texts["ca.pem"])
    async with serving(ScriptedWorker(["x"]), security) as (_, address):
        pair = {"cert_file": "cert.pem", "key_file": "key.pem"}
        async with asking(address, tmp_path, tls=True, ca_file="ca.pem", **pair) as worker:
            assert (await worker.infer(ASK)).text == "x"
        async with asking(address, tmp_path, tls=True, ca_file="ca.pem") as worker:
            with pytest.raises(WorkerError) as caught:
                await worker.infer(ASK)
            assert caught.value.kind == "unavailable"


async def test_what_waits_is_bounded() -> None:
    """More is refused at once, with the time to come back."""
    held = Held()
    async with serving(held, max_waiting=1, max_in_flight=1) as (server, address), asking(address) as worker:
        tasks = [asyncio.ensure_future(worker.infer(ASK)) for _ in range(2)]
        while not server._worker.waiting:
            await asyncio.sleep(0)
        with pytest.raises(WorkerError, match="too much to do") as caught:
            await worker.infer(ASK)
        assert (caught.value.kind, caught.value.retry_after) == ("overloaded", 1.0)
        held.go.set()
        assert [completion.text for completion in await asyncio.gather(*tasks)] == ["done", "done"]


async def test_nothing_may_wait() -> None:
    """With no room for who waits, only what can be asked at once is taken."""
    held = Held()
    async with serving(held, max_waiting=0, max_in_flight=1) as (_, address), asking(address) as worker:
        task = asyncio.ensure_future(worker.infer(ASK))
        await soon(held.asked)
        with pytest.raises(WorkerError, match="too much to do"):
            await worker.infer(ASK)
        held.go.set()
        await task


async def test_a_drain_finishes_what_is_under_way() -> None:
    """New calls are refused meanwhile, and health says so."""
    held = Held()
    async with (
        serving(held) as (server, address),
        asking(address) as worker,
        grpc.aio.insecure_channel(address) as plain,
    ):
        task = asyncio.ensure_future(worker.infer(ASK))
        await soon(held.asked)
        draining = asyncio.ensure_future(server.drain(10))
        await asyncio.sleep(0)
        with pytest.raises(WorkerError, match="about to end") as caught:
            await worker.infer(ASK)
        assert (caught.value.kind, caught.value.retry_after) == ("unavailable", 1.0)
        with pytest.raises(WorkerError, match="about to end"):
            await worker.probe()
        health = await health_pb2_grpc.HealthStub(plain).Check(health_pb2.HealthCheckRequest(service=SERVICE))
        assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING
        held.go.set()
        assert (await task).text == "done"
        assert await draining is True


async def test_a_drain_ends_in_time() -> None:
    """What is not finished then is cut off."""
    held = Held()
    async with serving(held) as (server, address), asking(address) as worker:
        task = asyncio.ensure_future(worker.infer(ASK))
        await soon(held.asked)
        assert await server.drain(0.05) is False
        with pytest.raises(WorkerError) as caught:
            await task
        assert caught.value.kind == "unavailable"
        await soon(held.left)


async def test_health_and_reflection() -> None:
    """Orchestrators ask the one, and people the other."""
    async with serving(ScriptedWorker()) as (_, address), grpc.aio.insecure_channel(address) as channel:
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        [listed] = [reply async for reply in stub.ServerReflectionInfo(asked)]
        assert SERVICE in [service.name for service in listed.list_services_response.service]


async def test_another_protocol() -> None:
    """A gRPC server of something else is told apart."""
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with asking(f"127.0.0.1:{port}") as worker:
        with pytest.raises(WorkerError, match="does not speak version 1 of dagflow's worker protocol"):
            await worker.infer(ASK)
    await server.stop(0)


async def test_nobody_listens() -> None:
    """It may be tried again."""
    async with asking("127.0.0.1:1") as worker:
        with pytest.raises(WorkerError, match=r"127\.0\.0\.1:1") as caught:
            await worker.infer(ASK)
    assert (caught.value.kind, caught.value.retryable) == ("unavailable", True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"address": "nowhere"}, "is no address"),
        ({"address": "http://x:1"}, "is no address"),
        ({"address": "x:1", "ca_file": "ca.pem"}, "without `tls = true`"),
        ({"address": "x:1", "tls": True, "cert_file": "c.pem"}, "go together"),
        ({"address": "gpu:1", "token": "t"}, "would travel in clear"),
    ],
)
async def test_options_that_do_not_go_together(options: dict[str, Any], said: str) -> None:
    """Each is told before anything starts."""
    with pytest.raises(ValueError, match=said):
        build_plugin(Grpc, **options)


async def test_a_certificate_that_is_not_there(tmp_path: Path) -> None:
    """The start names the file."""
    with pytest.raises(PluginError, match=r"ca\.pem` can't be read"):
        async with asking("127.0.0.1:1", tmp_path, tls=True, ca_file="ca.pem"):
            pass


async def test_it_keeps_the_rules() -> None:
    """As the worker behind it does."""
    async with serving(build_plugin(Echo)) as (_, address):
        sample = Sample(Grpc, {"address": address}, patience_s=20.0)
        found = await asyncio.to_thread(lambda: list(check_plugin(sample)))
    assert [f"{f.rule.id}: {f.breach}" for f in found if f.breach] == []


@asynccontextmanager
async def answering(answer: bytes, **settings: Any) -> AsyncIterator[str]:
    """Serve bytes as the answer of every call; give the address."""
    server = grpc.aio.server(options=list(settings.items()))

    async def once(packed: bytes, context: Any) -> bytes:
        return answer

    async def streamed(packed: bytes, context: Any) -> AsyncIterator[bytes]:
        yield answer

    methods = {name: grpc.unary_unary_rpc_method_handler(once) for name in ("Infer", "Embed", "Health")}
    methods["InferStream"] = grpc.unary_stream_rpc_method_handler(streamed)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def test_garbage_is_told() -> None:
    """As a fault of the protocol, and not as a bug of the worker."""
    async with answering(b"\xff\xff\xff") as address, asking(address) as worker:
        for ask in (worker.infer(ASK), worker.probe(), anext(worker.stream(ASK)), worker.embed(["x"])):
            with pytest.raises(WorkerError, match="no message of the protocol") as caught:
                await ask
            assert caught.value.kind == "protocol"


async def test_an_answer_that_is_too_large() -> None:
    """It would not get smaller, so it is not tried again; the remedy is told."""
    async with answering(b"x" * 5000) as address, asking(address, max_message="1KiB") as worker:
        with pytest.raises(WorkerError, match="`max_message`") as caught:
            await worker.infer(ASK)
    assert (caught.value.kind, caught.value.retryable) == ("protocol", False)


@pytest.mark.parametrize("token", ["two\nlines", "schlüssel"])
def test_tokens_that_cannot_be_sent(token: str) -> None:
    """They are refused in the file, and not at the first call."""
    with pytest.raises(ValidationError, match="one line of ASCII"):
        Grpc.Options(address="localhost:1", token=token)


async def test_no_secret_of_the_server_travels() -> None:
    """Whatever the worker raises."""
    async with serving(ScriptedWorker([RuntimeError(f"no {SECRET}")])) as (_, address), asking(address) as worker:
        with pytest.raises(WorkerError) as caught:
            await worker.infer(ASK)
    assert "the worker failed" in str(caught.value)
    assert SECRET not in str(caught.value)
