"""Worker `llamacpp`: a model in this process, by llama-cpp-python.

The model has a thread of its own, which makes one token at a time and then looks what is wanted next: so the event loop
never waits for it, a reader that lags holds it back, and a cancelled call ends with the token that is being made.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from dagflow.completion import Completion
from dagflow.errors import PluginError, WorkerError
from dagflow.exchange import Chunk, Embeddings, Usage
from dagflow.options import FilePath, Options
from dagflow.plugin import ModelWorker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from dagflow.exchange import Request
    from dagflow.plugin import Context

_END: Final = object()
_LOADING: Final = (
    Lock()
)  # the library silences the process's own output meanwhile, which two at a time would never undo
_OURS: Final = frozenset({"stream", "logits_processor", "messages", "prompt", "model", "grammar", "echo", "suffix"})


class LlamaCpp(ModelWorker):
    """Loads a GGUF file and answers with it, one call at a time; `max_in_flight` is 1 by default.

    `usage` counts the tokens that the model made, the one that ends the answer included.
    """

    incidental = frozenset({"threads", "gpu_layers"})

    default_max_in_flight = 1

    class Options(Options):
        path: FilePath = Field(description="the model, a file in the format GGUF")
        endpoint: Literal["chat", "completions"] = Field(
            "chat", description="what is asked: `chat` takes messages and prompts, `completions` prompts only"
        )
        context_tokens: int = Field(0, ge=0, description="the longest prompt and answer together; 0: as the model says")
        threads: int | None = Field(None, ge=1, description="threads that compute; half of the cores by default")
        gpu_layers: int = Field(0, ge=-1, description="layers that a graphics card computes; -1: all of them")
        chat_format: str | None = Field(None, description="how messages become a prompt; as the model says by default")
        embeddings: bool = Field(False, description="load the model for embeddings, instead of answers")
        extra: dict[str, Any] = Field({}, description="further arguments of `llama_cpp.Llama`, such as `flash_attn`")

        @field_validator("extra")
        @classmethod
        def _is_further(cls, extra: dict[str, Any]) -> dict[str, Any]:
            own = extra.keys() & {"model_path", "n_ctx", "n_threads", "n_gpu_layers", "chat_format", "embedding"}
            if own:
                text = "`{name}` has an option of its own"
                raise PydanticCustomError("repeated_argument", text, {"name": min(own)})
            return extra

    _thread: ThreadPoolExecutor | None = None
    _model: Any = None

    async def open(self, context: Context) -> None:
        await super().open(context)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"dagflow-{context.name}")
        self._turn = asyncio.Lock()  # answers share the model's memory, and would spoil each other's
        await self._in_thread(self._load)

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            unloaded = thread.submit(self._unload)
            thread.shutdown(wait=False)
            await asyncio.wrap_future(unloaded)

    async def infer(self, request: Request) -> Completion:
        stream = self.stream(request)
        try:
            return Completion.of([chunk async for chunk in stream])
        finally:
            await stream.aclose()

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        async with self._turn:
            meter = _Meter(self._model.token_eos())
            tokens = self._generate(request, meter)
            try:
                while (chunk := await self._in_thread(lambda: next(tokens, _END))) is not _END:
                    yield chunk
            finally:
                meter.stopped = True
                if self._thread is not None:  # after the token that is being made
                    self._thread.submit(tokens.close)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        if not self.options.embeddings:
            raise WorkerError("refused", "it is loaded for answers; a worker with `embeddings = true` makes embeddings")
        if not texts:
            return Embeddings()
        async with self._turn:
            answer = await self._in_thread(lambda: _told(lambda: self._model.create_embedding(list(texts))))
        vectors = [part["embedding"] for part in answer["data"]]
        return Embeddings(vectors, Usage(answer["usage"]["prompt_tokens"]), self.options.path.name)

    def _load(self) -> None:
        options = self.options
        try:
            from llama_cpp import Llama
        except ModuleNotFoundError:
            remedy = "install it with `pip install 'dagflow-engine[llamacpp]'`"
            raise PluginError(f"worker type `llamacpp` needs llama-cpp-python; {remedy}") from None
        if not options.path.is_file():
            raise PluginError(f"there is no file `{options.path}`; set `path` to a model in the format GGUF")
        try:
            with _LOADING:
                self._model = Llama(
                    str(options.path),
                    n_ctx=options.context_tokens,
                    n_threads=options.threads,
                    n_gpu_layers=options.gpu_layers,
                    chat_format=options.chat_format,
                    embedding=options.embeddings,
                    verbose=False,
                    **options.extra,
                )
        except (ValueError, TypeError, RuntimeError) as error:
            raise PluginError(
                f"`{options.path}` cannot be loaded: {error}; is it a model in the format GGUF?"
            ) from error

    def _unload(self) -> None:
        """Free the model, also one whose loading nobody waited for."""
        model, self._model = self._model, None
        if model is not None:
            with _LOADING:
                model.close()

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        assert self._thread is not None, "the worker is not open"
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _generate(self, request: Request, meter: _Meter) -> Iterator[Chunk]:
        """Make an answer, token by token; runs in the model's thread."""
        answers = _told(lambda: self._begin(request, meter))
        held: Chunk | None = None  # the one that ends the answer, until the tokens are counted
        while (answer := _told(lambda: next(answers, None))) is not None:
            chunk = self._chunk(answer)
            if chunk.finish_reason is not None:
                held = chunk
            elif chunk.text or chunk.tool_calls:
                yield chunk
        if held is not None:
            usage = Usage(meter.input_tokens, meter.output_tokens)
            yield Chunk(held.text, held.finish_reason, usage, self.options.path.name, held.tool_calls)

    def _begin(self, request: Request, meter: _Meter) -> Iterator[dict[str, Any]]:
        if self.options.embeddings:
            raise WorkerError("refused", "it is loaded for embeddings; another worker has to answer")
        messages = request.messages
        if self.options.endpoint == "chat":
            ask = self._model.create_chat_completion
            asked = {"messages": [{"role": "user", "content": request.prompt}] if messages is None else list(messages)}
        elif messages is not None and request.prompt is None:
            text = 'endpoint `completions` takes a prompt, but the record has a chat; set `endpoint = "chat"`'
            raise WorkerError("refused", text)
        else:
            ask, asked = self._model.create_completion, {"prompt": request.prompt}
        if request.prompt is None and not messages:
            raise WorkerError("refused", "there is neither a prompt nor a chat to ask")
        parameters = _parameters(request, inspect.signature(ask).parameters.keys())
        self._model.reset()
        return iter(ask(**asked, **parameters, stream=True, logits_processor=_processors(meter)))

    def _chunk(self, answer: dict[str, Any]) -> Chunk:
        choice = answer["choices"][0]
        delta = choice.get("delta") or {"content": choice.get("text")}
        calls = tuple(delta.get("tool_calls") or ())
        return Chunk(delta.get("content") or "", choice["finish_reason"], None, self.options.path.name, calls)


class _Meter:
    """Sees the logits before each token: so it knows the length of the prompt, and how many tokens were made.

    The library gives no chunk for tokens that are half a character; so it is here that a call can always be stopped.
    """

    def __init__(self, end: int) -> None:
        self.input_tokens = self.output_tokens = 0
        self.stopped = False
        self._end = end

    def __call__(self, tokens: Any, scores: Any) -> Any:
        if self.stopped:  # an exception would be lost in the library, which calls this from C
            scores[:] = -math.inf
            scores[self._end] = 0.0
        if not self.output_tokens:
            self.input_tokens = len(tokens)
        self.output_tokens += 1
        return scores


def _processors(meter: _Meter) -> Any:
    from llama_cpp import LogitsProcessorList

    return LogitsProcessorList([meter])


def _parameters(request: Request, known: Any) -> dict[str, Any]:
    """Give the request's parameters as the library takes them."""
    given = dict(request.parameters)
    given.pop("stream_options", None)
    most = given.pop("max_completion_tokens", None)
    if most is not None:
        given["max_tokens"] = most
    if "max_tokens" in given and (not isinstance(given["max_tokens"], int) or given["max_tokens"] < 1):
        raise WorkerError("refused", f"`max_tokens` should be a whole number above 0, but is `{given['max_tokens']}`")
    if given.pop("n", 1) != 1:
        raise WorkerError("refused", "`n` should be 1: a record has one completion")
    for name in given:
        if name not in known or name in _OURS:
            raise WorkerError("refused", f"llama.cpp knows no parameter `{name}`")
    return given


def _told(work: Callable[[], Any]) -> Any:
    """Do something with the library, and say what it raises in the classes of workers."""
    try:
        return work()
    except WorkerError:
        raise
    except Exception as error:
        text = str(error) or type(error).__name__
        kind = "context_window" if "exceed context window" in text or "exceed batch size" in text else "refused"
        raise WorkerError(kind, f"llama.cpp: {text}") from error
