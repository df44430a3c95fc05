"""Rules for model workers."""

from __future__ import annotations

import asyncio
import copy
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from dagflow.completion import Completion
from dagflow.errors import WorkerError, describe
from dagflow.exchange import Chunk, Request, Usage
from dagflow.testing.conformance.calls import attempt, check_cancelled, chunks_of, closing
from dagflow.testing.conformance.rule import Breach, demand, rule
from dagflow.testing.conformance.sample import sample_value
from dagflow.testing.conformance.upkeep import check_error

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from dagflow.testing.conformance.trial import Trial

_TEXTS: Final = ("one", "two words", "")


@rule("WORKER-1")
async def answers(trial: Trial) -> None:
    """`infer` gives a whole Completion with a `finish_reason`; its `usage` is a Usage, or None."""
    async with trial.opened() as worker:
        for request in trial.requests():
            completion = await _inferred(trial, worker, request)
            if completion is not None:
                demand(isinstance(completion, Completion), f"`infer` gave a `{type(completion).__name__}`")
                demand(not completion.is_live, "`infer` gave a completion that is live")
                demand(isinstance(completion.text, str), f"the completion's text is `{completion.text!r}`")
                _check_end("the completion", completion.finish_reason, completion.usage)


@rule("WORKER-2")
async def streams(trial: Trial) -> None:
    """`stream` gives Chunks; the last, and no other, has a `finish_reason`, and a `usage` where `infer` gives one."""
    async with trial.opened() as worker:
        for request in trial.requests():
            chunks = await _streamed(trial, worker, request)
            if chunks is None:
                continue
            demand(chunks and all(isinstance(c, Chunk) for c in chunks), f"`stream` gave {chunks!r}")
            *others, last = chunks
            _check_end("the last chunk", last.finish_reason, last.usage)
            demand(not any(c.finish_reason or c.usage for c in others), "a chunk before the last carries the end")
            whole = await _inferred(trial, worker, request)
            counted = isinstance(whole, Completion) and whole.usage is not None
            demand(last.usage is not None or not counted, "`infer` gives a usage, but the last chunk has none")


@rule("WORKER-3")
async def streams_the_same(trial: Trial) -> None:
    """The text of a stream is that of `infer`, where the worker always answers the same."""
    async with trial.opened() as worker:
        for request in trial.requests():
            first, second = [await _text(trial, worker, request) for _ in range(2)]
            chunks = await _streamed(trial, worker, request)
            if first is not None and first == second and chunks is not None:
                text = "".join(chunk.text for chunk in chunks)
                demand(text == first, f"`stream` gave `{text}`, and `infer` `{first}`")


@rule("WORKER-4")
async def embeds(trial: Trial) -> None:
    """`embed` gives one vector of numbers for each text, all of one length; or it is `refused`."""
    async with trial.opened() as worker:
        for texts in (list(_TEXTS), [_TEXTS[1]], []):
            try:
                vectors = await trial.bounded(worker.embed(texts), "`embed`")
            except WorkerError:
                continue
            demand(len(vectors) == len(texts), f"`embed` gave {len(vectors)} vectors for {len(texts)} texts")
            demand(len({len(vector) for vector in vectors}) <= 1, "`embed` gave vectors of different lengths")
            demand(all(isinstance(n, int | float) for v in vectors for n in v), "`embed` gave what are no numbers")


@rule("WORKER-5")
async def raises_worker_errors(trial: Trial) -> None:
    """What can't be answered raises a `WorkerError` with its kind, from `infer` and `stream` alike."""
    async with trial.opened() as worker:
        for request in _odd_requests():
            await _check_errors(trial, worker.infer(request), "`infer`")
            await _check_errors(trial, chunks_of(worker, request), "`stream`")


@rule("WORKER-6")
async def lets_cancellation_through(trial: Trial) -> None:
    """`infer` and `stream` let a cancellation through, at any `await`; a stream can be closed after any chunk."""
    async with trial.opened() as worker:
        for request in trial.requests()[:1]:
            await check_cancelled(trial, lambda request=request: worker.infer(request), "`infer`")
            await check_cancelled(trial, lambda request=request: chunks_of(worker, request), "`stream`")
            for reads in range(4):
                await attempt(trial, closing(worker.stream(request), reads), f"closing `stream` after {reads} chunks")


@rule("WORKER-7")
async def survives_cancellation(trial: Trial) -> None:
    """After a cancellation, the worker goes on to work."""
    async with trial.opened() as worker:
        request = trial.requests()[0]
        starts: list[Callable[[], Coroutine[Any, Any, Any]]] = [
            lambda: worker.infer(request),
            lambda: chunks_of(worker, request),
        ]
        for start in starts:
            for turns in range(4):
                task = asyncio.ensure_future(start())
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task], timeout=trial.sample.patience_s)
            await attempt(trial, start(), "after a cancellation, the worker")


@rule("WORKER-8")
async def keeps_requests_apart(trial: Trial) -> None:
    """Requests that are answered at the same time don't mix."""
    async with trial.opened() as worker:
        requests = trial.requests() + [Request(prompt=f"How many are {n} and {n}?") for n in range(4)]
        alone = [await _text(trial, worker, request) for request in requests]
        again = [await _text(trial, worker, request) for request in requests]
        together = await asyncio.gather(*(_text(trial, worker, request) for request in requests))
        for first, second, text in zip(alone, again, together, strict=True):
            if first is not None and first == second:
                demand(text == first, f"among others, a request got `{text}` instead of `{first}`")


@rule("WORKER-9")
async def leaves_requests(trial: Trial) -> None:
    """The request stays as it is: a later attempt uses it again."""
    async with trial.opened() as worker:
        for request in trial.requests():
            before = copy.deepcopy(request)
            await _text(trial, worker, request)
            await _streamed(trial, worker, request)
            demand(request == before, f"the request was `{before}`, and became `{request}`")


@rule("WORKER-10")
async def tells_of_itself(trial: Trial) -> None:
    """`probe` gives a text or raises a `WorkerError`, and `load_hint` gives a whole number or None at once."""
    async with trial.opened() as worker:
        try:
            found = await trial.bounded(worker.probe(), "`probe`")
        except WorkerError as error:
            check_error(error, "`probe`")
        except Breach:
            raise
        except Exception as error:
            raise Breach(f"`probe` raised {describe(error)}; expected a `WorkerError`") from error
        else:
            demand(isinstance(found, str) and found, f"`probe` gave {found!r}, expected a text")
        hint = worker.load_hint()
        demand(hint is None or (isinstance(hint, int) and hint >= 0), f"`load_hint` gave {hint!r}")


def _odd_requests() -> list[Request]:
    return [
        Request(),
        Request(messages=[]),
        Request(messages=[{"role": "system", "content": "Be brief."}]),
        Request(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]),
        Request(messages=[{"role": "assistant", "content": None, "tool_calls": []}]),
        Request(prompt=""),
        Request(prompt="Hello", parameters={"max_tokens": -1}),
        Request(prompt="Hello", parameters={"max_tokens": "many", "no_such_parameter": True}),
        Request(prompt="Hello", model="no-such-model", deadline=0.0),
        Request(messages=sample_value("messages"), parameters={"max_tokens": 1}),
    ]


def _check_end(what: str, finish_reason: Any, usage: Any) -> None:
    demand(isinstance(finish_reason, str) and finish_reason, f"{what} has the finish reason `{finish_reason!r}`")
    demand(usage is None or isinstance(usage, Usage), f"{what} has the usage `{usage!r}`")
    if usage is not None:
        counts = (usage.input_tokens, usage.output_tokens)
        demand(all(isinstance(n, int) and n >= 0 for n in counts), f"{what} has the usage `{usage!r}`")


async def _check_errors(trial: Trial, work: Coroutine[Any, Any, Any], what: str) -> None:
    try:
        await trial.bounded(work, what)
    except WorkerError as error:
        check_error(error, what)
    except Breach:
        raise
    except Exception as error:
        raise Breach(f"{what} raised {describe(error)}; expected a `WorkerError`") from error


async def _inferred(trial: Trial, worker: Any, request: Request) -> Any:
    """Give a completion, or None where the worker fails; how it fails is for other rules."""
    with suppress(Exception):
        return await trial.bounded(worker.infer(request), "`infer`")
    return None


async def _streamed(trial: Trial, worker: Any, request: Request) -> list[Chunk] | None:
    with suppress(Exception):
        return await trial.bounded(chunks_of(worker, request), "`stream`")
    return None


async def _text(trial: Trial, worker: Any, request: Request) -> str | None:
    completion = await _inferred(trial, worker, request)
    return completion.text if isinstance(completion, Completion) else None


WORKER_RULES: Final = (
    answers,
    streams,
    streams_the_same,
    embeds,
    raises_worker_errors,
    lets_cancellation_through,
    survives_cancellation,
    keeps_requests_apart,
    leaves_requests,
    tells_of_itself,
)
