"""Workers `openai` and `vllm` with real servers: whole, streamed, cancelled in mid-stream, usage checked."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from desk import guarded
from servers import llama_server, vllm_server
from tiny_gguf import write_tiny_gguf

from dagflow.compile import compile_text
from dagflow.engine.probe import probe_workers
from dagflow.errors import WorkerError
from dagflow.exchange import Request
from dagflow.testing.alone import build_context, build_plugin, opened
from dagflow.workers.openai import OpenAI
from dagflow.workers.vllm import VLLM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300), pytest.mark.filterwarnings("default")]
FEW = {"max_tokens": 12, "temperature": 0.0}
CHAT = [{"role": "user", "content": "Hello"}]
WORKERS = {"llama": OpenAI, "vllm": VLLM}


@pytest.fixture(scope="module", params=["llama", "vllm"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A server that runs: its kind and its URL."""
    folder = tmp_path_factory.mktemp(request.param)
    is_llama = request.param == "llama"
    with llama_server(write_tiny_gguf(folder / "tiny.gguf")) if is_llama else vllm_server(folder) as url:
        yield request.param, url


@asynccontextmanager
async def asking(server: tuple[str, str], **options: Any) -> AsyncIterator[Any]:
    """Open a worker that asks the server, behind guards."""
    kind, url = server
    options = {"base_url": url, "model": "tiny", **options}
    async with opened(build_plugin(WORKERS[kind], **options), build_context("main")) as worker:
        yield guarded(worker)


async def test_whole_and_streamed_are_the_same(server: tuple[str, str]) -> None:
    """Chat and prompt alike, with the finish reason and the model."""
    async with asking(server) as worker:
        for request in (Request(messages=CHAT, parameters=FEW), Request(prompt="Hello", parameters=FEW)):
            whole = await worker.infer(request)
            chunks = [chunk async for chunk in worker.stream(request)]
            assert "".join(chunk.text for chunk in chunks) == whole.text
            assert chunks[-1].finish_reason == whole.finish_reason == "length"
            assert whole.model == "tiny"
            assert len(chunks) > 2


async def test_the_usage_is_told(server: tuple[str, str]) -> None:
    """Whole always; streamed where the server tells it."""
    async with asking(server) as worker:
        request = Request(messages=CHAT, parameters=FEW)
        whole = await worker.infer(request)
        *_, last = [chunk async for chunk in worker.stream(request)]
        assert whole.usage.output_tokens == 12
        assert whole.usage.input_tokens > 5
        if server[0] == "vllm":
            assert last.usage.output_tokens == 12
            assert last.usage.input_tokens == whole.usage.input_tokens
        else:
            assert last.usage is None  # llama-cpp-python's server has no usage in streams
            assert worker.tally.unmetered == 1


async def test_the_other_endpoint(server: tuple[str, str]) -> None:
    """Prompts as they stand."""
    async with asking(server, endpoint="completions") as worker:
        completion = await worker.infer(Request(prompt="bounded queues", parameters=FEW))
        assert completion.usage.output_tokens == 12


async def test_a_call_that_is_cancelled_in_mid_stream(server: tuple[str, str]) -> None:
    """The server notices, and is there for others."""
    async with asking(server) as worker:
        long = Request(prompt="Hello", parameters={"max_tokens": 220, "temperature": 0.0, "ignore_eos": True})
        if server[0] == "llama":
            long = Request(prompt="Hello", parameters={"max_tokens": 200, "temperature": 0.0})
        stream = worker.stream(long)
        await anext(stream)
        await stream.aclose()
        assert worker.tally.errors == {"cancelled": 1}
        began = time.monotonic()
        await worker.infer(Request(prompt="Hi", parameters=FEW))
        print(f"answered {time.monotonic() - began:.3f} s after a cancellation")
        if server[0] == "vllm":
            await _wait_idle(worker)


async def _wait_idle(worker: Any) -> None:
    async with asyncio.timeout(20):
        while (load := await worker.plugin.load()) is None or load.calls:
            await asyncio.sleep(0.05)


async def test_a_context_that_is_too_long(server: tuple[str, str]) -> None:
    """It has its own class, whatever the server calls it."""
    async with asking(server) as worker:
        with pytest.raises(WorkerError) as caught:
            await worker.infer(Request(prompt="x" * 20_000, parameters=FEW))
        assert caught.value.kind == "context_window"


async def test_many_at_a_time(server: tuple[str, str]) -> None:
    """Each gets its own answer."""
    async with asking(server) as worker:
        requests = [Request(prompt=f"{n} bounded", parameters=FEW) for n in range(8)]
        alone = [(await worker.infer(request)).text for request in requests]
        together = await asyncio.gather(*(worker.infer(request) for request in requests))
        assert [completion.text for completion in together] == alone


async def test_a_probe(server: tuple[str, str]) -> None:
    """It finds the model, or says that it is not there; llama-cpp-python's server answers by any name."""
    kind, url = server
    file = f"""
[pipeline]
edges = [{{ from = "in", to = "ask" }}, {{ from = "ask", to = "out" }}]
[sources.in]
type = "jsonl"
path = "-"
fields = ["messages"]
[stages.ask]
type = "inference"
worker = "main"
[sinks.out]
type = "null"
[workers.main]
type = "{"vllm" if kind == "vllm" else "openai"}"
base_url = "{url}"
model = "MODEL"
"""
    [found] = await probe_workers(compile_text(file.replace("MODEL", "tiny")), 30.0)
    assert found.works, found.text
    [lost] = await probe_workers(compile_text(file.replace("MODEL", "huge")), 30.0)
    assert lost.works is (kind == "llama")
    assert "huge" in lost.text


async def test_priorities_are_passed_on(server: tuple[str, str]) -> None:
    """A vLLM server with the scheduling policy `priority` takes them."""
    if server[0] != "vllm":
        pytest.skip("only vLLM has priorities")
    async with asking(server, priority=True) as worker:
        assert (await worker.infer(Request(prompt="Hi", parameters=FEW, priority=3))).usage.output_tokens == 12


async def test_guided_decoding(server: tuple[str, str]) -> None:
    """Parameters of the server's own are passed on."""
    if server[0] != "vllm":
        pytest.skip("only vLLM has guided decoding")
    async with asking(server) as worker:
        parameters = {"max_tokens": 5, "structured_outputs": {"choice": ["yes", "no"]}}
        assert (await worker.infer(Request(prompt="Well?", parameters=parameters))).text in ("yes", "no")
