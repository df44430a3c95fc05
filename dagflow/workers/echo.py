"""Worker `echo`: answers with what it was asked, for trials, tests and benchmarks.

It can be as slow, as uneven and as unreliable as a real server, and the same seed makes it so in
the same way.
"""

from __future__ import annotations

from asyncio import sleep
from random import Random
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dagflow.delays import Delay
from dagflow.errors import WorkerError
from dagflow.options import Options
from dagflow.plugin import ModelWorker
from dagflow.workers.answers import build_answer, chunks_of, split_words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dagflow.completion import Completion
    from dagflow.exchange import Chunk, Request
    from dagflow.plugin import Context

ErrorKind = Literal["timeout", "unavailable", "overloaded", "refused", "context_window", "content_policy", "protocol"]


class Echo(ModelWorker):
    """Answers with the prompt, or the text of the last user message, one chunk a word.

    `max_tokens` is honoured, with finish reason `length`; a token is a word. Makes no embeddings.
    """

    incidental = frozenset({"delay", "chunk_delay", "error_rate", "error", "seed"})

    class Options(Options):
        delay: Delay = Field(
            Delay("0s"), description='time to the first chunk: "20ms", "uniform(5ms, 20ms)", "lognormal(20ms, 0.5)"'
        )
        chunk_delay: Delay = Field(Delay("0s"), description="time between two chunks; a whole answer takes the sum")
        error_rate: float = Field(0.0, ge=0, le=1, description="the share of requests that fail, 0 to 1")
        error: ErrorKind = Field("unavailable", description="the kind of error with which they fail, after `delay`")
        seed: int = Field(0, description="the same seed gives the same series of delays and errors")

    async def open(self, context: Context) -> None:
        await super().open(context)
        self._random = Random(f"{self.options.seed}:{context.name}")

    async def infer(self, request: Request) -> Completion:
        completion = await self._begin(request)
        delay = self.options.chunk_delay
        if delay:
            pauses = len(split_words(completion.text)) - 1
            await _pause(sum(delay.sample_s(self._random) for _ in range(pauses)))
        return completion

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        first, *others = chunks_of(await self._begin(request))
        yield first
        for chunk in others:
            await _pause(self.options.chunk_delay.sample_s(self._random))
            yield chunk

    async def _begin(self, request: Request) -> Completion:
        completion = build_answer(request.text, request, "echo")
        fails = self._random.random() < self.options.error_rate
        await _pause(self.options.delay.sample_s(self._random))
        if fails:
            raise WorkerError(self.options.error, f"worker `{self.context.name}` fails on purpose")
        return completion


async def _pause(seconds: float) -> None:
    if seconds > 0:
        await sleep(seconds)
