"""Worker `llamacpp` with a model that is really loaded."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from desk import guarded
from tiny_gguf import CONTEXT, write_tiny_gguf

from dagflow.errors import PluginError, WorkerError
from dagflow.exchange import Request
from dagflow.testing import Sample, check_plugin
from dagflow.testing.alone import build_context, build_plugin, opened
from dagflow.workers.llamacpp import LlamaCpp

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("default")]
FEW = {"max_tokens": 12, "temperature": 0.0}
CHAT = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model."""
    return write_tiny_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf")


def running(model: Path, **options: Any) -> Any:
    """Open a worker for the block."""
    return opened(build_plugin(LlamaCpp, model.parent, path=model.name, **options), build_context("main"))


async def test_it_answers_whole_and_streamed(model: Path) -> None:
    """The same, with the same usage, chat and prompt alike."""
    async with running(model) as worker:
        for request in (Request(messages=CHAT, parameters=FEW), Request(prompt="Hello", parameters=FEW)):
            whole = await worker.infer(request)
            chunks = [chunk async for chunk in worker.stream(request)]
            assert "".join(chunk.text for chunk in chunks) == whole.text
            assert len(chunks) > 3
            assert chunks[-1].usage == whole.usage
            assert whole.finish_reason == "length"
            assert whole.usage.output_tokens == 12
            assert whole.usage.input_tokens == len("Hello") + 2  # with the marks of user and assistant
            assert whole.model == "tiny.gguf"


async def test_the_usage_is_that_of_the_library(model: Path) -> None:
    """Counted token by token, it comes to what llama.cpp itself says of a whole answer."""
    async with running(model, endpoint="completions") as worker:
        completion = await worker.infer(Request(prompt="One two three", parameters=FEW))
        said = worker._model.create_completion("One two three", **FEW)["usage"]
        assert completion.usage.input_tokens == said["prompt_tokens"]
        assert completion.usage.output_tokens == said["completion_tokens"]


async def test_the_event_loop_goes_on_meanwhile(model: Path) -> None:
    """The model has a thread of its own."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with running(model) as worker:
        counting = asyncio.ensure_future(count())
        await worker.infer(Request(prompt="Hello", parameters={**FEW, "max_tokens": 200}))
        counting.cancel()
    assert turns > 200


@pytest.mark.parametrize("reads", [0, 3])
async def test_a_cancelled_call_ends_with_its_token(model: Path, reads: int) -> None:
    """And the next one is answered at once, though hundreds of tokens were wanted."""
    async with running(model) as worker:
        stream = worker.stream(Request(prompt="Hello", parameters={**FEW, "max_tokens": 2000}))
        task = asyncio.ensure_future(anext(stream))
        for _ in range(reads):
            await task
            task = asyncio.ensure_future(anext(stream))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await stream.aclose()
        await worker.infer(Request(prompt="Hi", parameters=FEW))
        assert worker._model.n_tokens < 100


async def test_a_context_that_is_too_long(model: Path) -> None:
    """It has its own class, for fallbacks."""
    async with running(model, context_tokens=64) as worker:
        with pytest.raises(WorkerError, match="exceed context window") as caught:
            await worker.infer(Request(prompt="x" * 500, parameters=FEW))
        assert caught.value.kind == "context_window"
        assert (await worker.infer(Request(prompt="x", parameters=FEW))).text
    assert CONTEXT > 500


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"max_tokens": 0}, "`max_tokens` should be"),
        ({"n": 2}, "`n` should be 1"),
        ({"best_of_breed": 1}, "no parameter `best_of_breed`"),
        ({"temperature": "hot"}, "llama.cpp:"),
    ],
)
async def test_wrong_parameters(model: Path, parameters: dict[str, Any], said: str) -> None:
    """Each is refused with its name."""
    async with running(model) as worker:
        with pytest.raises(WorkerError, match=said) as caught:
            await worker.infer(Request(prompt="x", parameters=parameters))
        assert caught.value.kind == "refused"


async def test_embeddings(model: Path) -> None:
    """A vector for each text, with a usage; such a worker answers nothing."""
    async with running(model, embeddings=True, extra={"pooling_type": 1}) as worker:
        vectors = await worker.embed(["one", "two", "three"])
        assert [len(vector) for vector in vectors] == [64] * 3
        assert vectors.usage.input_tokens == sum(map(len, ["one", "two", "three"])) + 3 - 1  # `th` is one token
        assert await worker.embed([]) == []
        with pytest.raises(WorkerError, match="loaded for embeddings"):
            await worker.infer(Request(prompt="x"))
    async with running(model) as worker:
        with pytest.raises(WorkerError, match="`embeddings = true`"):
            await worker.embed(["x"])


async def test_one_call_at_a_time(model: Path) -> None:
    """The others wait before the worker, by their priority, and not in its thread."""
    async with running(model) as worker:
        guard = guarded(worker)
        tasks = [asyncio.ensure_future(guard.infer(Request(prompt="x", parameters=FEW))) for _ in range(4)]
        await asyncio.sleep(0)
        assert (guard.tally.busy, guard.waiting) == (1, 3)
        await asyncio.gather(*tasks)


async def test_what_cannot_be_loaded(tmp_path: Path) -> None:
    """Named at the start."""
    for name, said in (("gone.gguf", "there is no file"), ("text.gguf", "is it a model in the format GGUF")):
        if name == "text.gguf":
            (tmp_path / name).write_text("no model")
        with pytest.raises(PluginError, match=said):
            async with running(tmp_path / name):
                pass


def test_it_keeps_the_rules(model: Path) -> None:
    """Those of every worker."""
    requests = [Request(messages=CHAT, parameters=FEW), Request(prompt="Why?", parameters=FEW)]
    sample = Sample(LlamaCpp, {"path": str(model), "context_tokens": 64}, requests=requests, patience_s=60.0)
    assert [f"{f.rule.id}: {f.breach}" for f in check_plugin(sample) if f.breach] == []
