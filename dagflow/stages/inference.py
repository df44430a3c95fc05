"""Stage `inference`: asks a model worker and writes its completion.

Where all that follows forwards live completions, it hands the record on with the first chunk and
keeps its slot until the stream ends. Up to then nothing has been shown, so that an error is an
ordinary one and may be retried; after it an error travels in the completion, to its reader.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import Field

from dagflow.chat import is_message
from dagflow.completion import Completion
from dagflow.errors import InvalidField, PluginBug, RecordError, StreamCut
from dagflow.exchange import Request
from dagflow.inference.sharing import Sharing
from dagflow.options import Duration, FieldName, FilePath, Options, WorkerName
from dagflow.plugin import Stage
from dagflow.store.answers import Answers, MemoryAnswers, StoredAnswers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from dagflow.exchange import Chunk
    from dagflow.plugin import Context
    from dagflow.record import Record

T = TypeVar("T")

_PARAMETERS: Final = "a table of sampling parameters"


class CacheOptions(Options):
    """`cache` of stage `inference`."""

    path: FilePath | None = Field(None, description="the database that keeps answers for later runs; else memory does")
    ttl: Duration | None = Field(None, gt=0, description="how long an answer is good; for ever, if it is not given")
    max_entries: int = Field(10_000, ge=1, description="how many answers are kept; the oldest go first")


class Inference(Stage):
    """Asks `worker` for a completion of `prompt`, or of `messages` where no stage wrote a prompt.

    Writes it to `completion`, or `output`, which is then whole: what forwards chunks looks at
    `completion` alone. A record's own `parameters` override those of the stage; its `model` counts where the worker has
    none. `stream = false` among the parameters of a record is for whoever reads no chunks.
    """

    incidental = frozenset({"dedup", "cache", "stream"})

    default_concurrency = 8
    default_retry_budget = 0.1

    class Options(Options):
        worker: WorkerName = Field(description="the table under `[workers]` that answers")
        parameters: dict[str, Any] = Field(
            {}, description="sampling parameters in OpenAI's names, such as `temperature` and `max_tokens`"
        )
        stream: bool = Field(
            True, description="whether answers go on chunk by chunk, where all that follows can take them so"
        )
        dedup: bool = Field(False, description="whether identical requests that are under way share one call")
        cache: CacheOptions | None = Field(
            None, description="keep complete answers for identical requests; `cache = {}` does so in memory"
        )
        output: FieldName = Field("completion", description="the field that the answer is written to")

    def reads_any(self) -> list[set[str]]:
        return [{"prompt", "messages"}]

    def writes(self) -> set[str]:
        return {self.options.output}

    _sharing: Sharing | None = None

    async def open(self, context: Context) -> None:
        await super().open(context)
        self._worker = worker = context.workers[self.options.worker]
        if self.options.dedup or self.options.cache is not None:
            self._worker = self._sharing = Sharing(worker, await self._open_cache(), self.options.dedup)
        self._input_tokens = context.metrics.counter("input_tokens")
        self._output_tokens = context.metrics.counter("output_tokens")
        if context.live and self.options.stream and self.options.output == "completion":
            self._first_chunk = context.metrics.histogram("first_chunk")
            self.process = self._process_live  # type: ignore[method-assign]

    async def close(self) -> None:
        if self._sharing is not None:
            await self._sharing.close()

    async def _open_cache(self) -> Answers | None:
        wanted = self.options.cache
        if wanted is None or wanted.path is None:
            return wanted and MemoryAnswers(wanted.max_entries, wanted.ttl)
        answers = StoredAnswers(wanted.path, wanted.max_entries, wanted.ttl, self.context.logger)
        await answers.open()
        return answers

    async def process(self, record: Record) -> Record:
        return await self._process_whole(record)

    async def _process_whole(self, record: Record) -> Record:
        completion = await self._worker.infer(self._request(record))
        self._count(completion)
        record[self.options.output] = completion
        return record

    def process_whole(self, record: Record) -> Awaitable[Record] | None:
        parameters = record.get("parameters")
        whole = isinstance(parameters, dict) and parameters.get("stream") is False
        return self._process_whole(record) if whole else None

    async def _process_live(self, record: Record) -> AsyncIterator[Record]:
        stream = self._worker.stream(self._request(record))
        try:
            completion = Completion.live()
            await completion.feed(await self._first(stream))
            record["completion"] = completion
            try:
                yield record
                await self._feed_rest(completion, stream)
            finally:
                self._end(completion)
        finally:
            if hasattr(stream, "aclose"):
                await stream.aclose()

    async def _first(self, stream: AsyncIterator[Chunk]) -> Chunk:
        started = self.context.clock()
        chunk = await anext(stream)
        self._first_chunk.observe(round((self.context.clock() - started) * 1e9))
        return chunk

    async def _feed_rest(self, completion: Completion, stream: AsyncIterator[Chunk]) -> None:
        try:
            async for chunk in stream:
                await completion.feed(chunk)
        except RecordError as error:
            completion.finish(error)
        except Exception as error:
            bug = PluginBug(error)
            bug.__cause__ = error
            completion.finish(bug)
        else:
            completion.finish()

    def _end(self, completion: Completion) -> None:
        # Where it is still live, whoever runs this stage has stopped it, by cancelling or by closing it.
        completion.finish(StreamCut())
        if completion.error is not None:
            completion.error.node = self.context.name
        self._count(completion)

    def _request(self, record: Record) -> Request:
        prompt = _given(record, "prompt", str, "a text")
        parameters = _given(record, "parameters", dict, _PARAMETERS) or {}
        if "stream" in parameters:
            parameters = {name: value for name, value in parameters.items() if name != "stream"}
        return Request(
            messages=_chat(record) if prompt is None else None,
            prompt=prompt,
            model=_given(record, "model", str, "the name of a model") or _model_of_line(record),
            parameters={**self.options.parameters, **parameters} if parameters else self.options.parameters,
            session=record.session,
            deadline=record.deadline,
            metadata={"id": record.id, "node": self.context.name},
            priority=record.priority,
            timeout_s=self.context.timeout_s,
            record=record,
        )

    def _count(self, completion: Completion) -> None:
        if completion.shared is not None:
            self.context.metrics.counter(f"from_{completion.shared}").add()
        elif completion.usage is not None:
            self._input_tokens.add(completion.usage.input_tokens)
            self._output_tokens.add(completion.usage.output_tokens)


def _chat(record: Record) -> list[dict[str, Any]]:
    expected = "a list of chat messages, each with `role` and `content`"
    messages = _given(record, "messages", list, expected)
    if messages is None:
        raise InvalidField("prompt", "there, or else `messages`")
    for index, message in enumerate(messages):
        if not is_message(message):
            raise InvalidField(f"messages[{index}]", "an object with `role` and `content`", message)
    return messages


def _model_of_line(record: Record) -> str | None:
    model = record.meta.get("model")
    if model is not None and not isinstance(model, str):
        raise InvalidField("meta.model", "the name of a model", model)
    return model


def _given(record: Record, field: str, kind: type[T], expected: str) -> T | None:
    value = record.get(field)
    if value is not None and not isinstance(value, kind):
        raise InvalidField(field, expected, value)
    return value
