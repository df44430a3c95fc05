"""ScriptedWorker: a model worker that says what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dagflow.completion import Completion
from dagflow.errors import WorkerError
from dagflow.exchange import Chunk, Usage
from dagflow.plugin import ModelWorker
from dagflow.workers.answers import split_words, whole_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from dagflow.exchange import Request


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a script.

    Attributes:
        text: what is said; streamed word by word.
        delay_s: the wait before the first chunk, or the error.
        chunk_delay_s: the wait before each further chunk.
        finish_reason: why the answer ends.
        usage: the token counts; by default a word is a token.
        error: raised in place of the answer.
        cut_after: after so many chunks the stream breaks, as `unavailable`; never, if None.
    """

    text: str = ""
    delay_s: float = 0.0
    chunk_delay_s: float = 0.0
    finish_reason: str = "stop"
    usage: Usage | None = None
    error: Exception | None = None
    cut_after: int | None = None


class ScriptedWorker(ModelWorker):
    """Answers from a script: by the text of the prompt where that is listed, else in order.

    A text stands for an `Answer` with it, an exception for one that raises it. A request for which
    nothing is left is `refused`. Makes no embeddings.

    Attributes:
        requests: what was asked, in order.
    """

    def __init__(
        self,
        answers: Iterable[str | Answer | Exception] = (),
        by_prompt: Mapping[str, str | Answer | Exception] | None = None,
    ) -> None:
        super().__init__()
        self.requests: list[Request] = []
        self._answers = iter(answers)
        self._by_prompt = dict(by_prompt or {})

    async def infer(self, request: Request) -> Completion:
        """Give the next answer whole; one that would be cut raises."""
        chunks = [chunk async for chunk in self.stream(request)]
        last = chunks[-1]
        return Completion("".join(chunk.text for chunk in chunks), last.finish_reason, last.model, last.usage)

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """Give the next answer word by word."""
        self.requests.append(replace(request, record=None))  # records are not to be kept
        answer = self._next(request)
        await asyncio.sleep(answer.delay_s)
        if answer.error is not None:
            raise answer.error
        for index, chunk in enumerate(_chunks(answer, request)):
            if index == answer.cut_after:
                raise WorkerError("unavailable", f"the stream was cut after {index} chunks, as scripted")
            if index:
                await asyncio.sleep(answer.chunk_delay_s)
            yield chunk

    def _next(self, request: Request) -> Answer:
        listed = self._by_prompt.get(request.text)
        step = next(self._answers, None) if listed is None else listed
        if step is None:
            raise WorkerError("refused", f"the script has no answer for `{request.text}`")
        if isinstance(step, Exception):
            return Answer(error=step)
        return Answer(step) if isinstance(step, str) else step


def _chunks(answer: Answer, request: Request) -> list[Chunk]:
    words = split_words(answer.text) or [""]
    usage = answer.usage or Usage(len(whole_text(request).split()), len(answer.text.split()))
    model = request.model or "scripted"
    return [
        *(Chunk(word, model=model) for word in words[:-1]),
        Chunk(words[-1], answer.finish_reason, usage, model),
    ]
