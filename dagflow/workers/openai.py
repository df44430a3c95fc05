"""Worker `openai`: any server that speaks OpenAI's dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct
from pydantic import Field

from dagflow.errors import WorkerError
from dagflow.exchange import Embeddings, Usage
from dagflow.workers.http.connecting import encode_body
from dagflow.workers.http.openai_format import OpenAIReader, read_answer
from dagflow.workers.http.options import BaseUrl, HttpOptions
from dagflow.workers.http.reading import decode_answer
from dagflow.workers.http.worker import HttpWorker

if TYPE_CHECKING:
    from dagflow.completion import Completion
    from dagflow.exchange import Request
    from dagflow.workers.http.reading import AnswerReader

_PATHS = {"chat": "/chat/completions", "completions": "/completions"}


class _Vector(Struct):
    embedding: list[float]
    index: int | None = None


class _Counts(Struct):
    prompt_tokens: int | None = None


class _Vectors(Struct):
    data: list[_Vector]
    usage: _Counts | None = None
    model: str | None = None


_VECTORS = msgspec.json.Decoder(_Vectors)


class OpenAI(HttpWorker):
    """Asks a server that speaks OpenAI's dialect, whole or streamed, and makes embeddings.

    A record's parameters are passed on as they are. A bare prompt becomes one user message.
    """

    class Options(HttpOptions):
        base_url: BaseUrl = Field(
            "https://api.openai.com/v1", description="where the server's endpoints begin, mostly with `/v1`"
        )
        endpoint: Literal["chat", "completions"] = Field(
            "chat", description="what is asked: `chat` takes messages and prompts, `completions` prompts only"
        )
        stream_usage: bool = Field(True, description="ask for token counts in streams; some servers refuse that")
        embed_batch: int = Field(128, ge=1, description="the most texts of one request for embeddings")

    def _headers(self) -> Mapping[str, str]:
        key = self.options.api_key
        return {} if not key else {"Authorization": f"Bearer {key.get_secret_value()}"}

    def _path(self) -> str:
        return _PATHS[self.options.endpoint]

    def _body(self, request: Request, streams: bool) -> dict[str, Any]:
        body = {**self._parameters(request), "model": self._model(request), **self._question(request)}
        body.pop("stream_options", None)
        if streams:
            body["stream"] = True
            wanted = request.parameters.get("stream_options") or self.options.extra_body.get("stream_options")
            given = dict(wanted) if isinstance(wanted, Mapping) else {}
            if self.options.stream_usage:
                given["include_usage"] = True
            if given:
                body["stream_options"] = given
        return body

    def _question(self, request: Request) -> dict[str, Any]:
        if request.prompt is None and request.messages is None:
            raise WorkerError("refused", "there is neither a prompt nor a chat to ask")
        if self.options.endpoint == "chat":
            chat = request.messages if request.prompt is None else [{"role": "user", "content": request.prompt}]
            return {"messages": chat}
        if request.prompt is None:
            text = 'endpoint `completions` takes a prompt, but the record has a chat; set `endpoint = "chat"`'
            raise WorkerError("refused", text)
        return {"prompt": request.prompt}

    def _whole(self, data: bytes) -> Completion:
        return read_answer(data, self._session)

    def _reader(self) -> AnswerReader:
        return OpenAIReader(self._session)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        vectors, tokens, model = [], None, None
        for start in range(0, len(texts), self.options.embed_batch):
            part = await self._embed_part(list(texts[start : start + self.options.embed_batch]))
            vectors += [vector.embedding for vector in part.data]
            model = part.model or model
            if part.usage is not None:
                tokens = (tokens or 0) + (part.usage.prompt_tokens or 0)
        return Embeddings(vectors, None if tokens is None else Usage(tokens), model)

    async def _embed_part(self, texts: list[str]) -> _Vectors:
        model = self.options.model
        if model is None:
            raise WorkerError("refused", "no model is named; set `model` in the worker's table", status=502)
        body = encode_body({**self.options.extra_body, "model": model, "input": texts})
        data = await self._session.post_whole("/embeddings", body)
        answer = decode_answer(_VECTORS, data, self._session)
        if all(vector.index is not None for vector in answer.data):
            answer.data.sort(key=lambda vector: vector.index)
        if len(answer.data) != len(texts):
            raise WorkerError("protocol", f"asked for {len(texts)} embeddings, but the answer has {len(answer.data)}")
        return answer
