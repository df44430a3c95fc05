"""Worker `anthropic`: servers that speak Anthropic's Messages API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from dagflow.errors import WorkerError
from dagflow.workers.http.anthropic_format import AnthropicReader, read_answer
from dagflow.workers.http.anthropic_request import write_chat, write_parameters
from dagflow.workers.http.options import BaseUrl, HttpOptions
from dagflow.workers.http.worker import HttpWorker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagflow.completion import Completion
    from dagflow.exchange import Request
    from dagflow.workers.http.reading import AnswerReader

_VERSION: Final = "2023-06-01"  # of the API; the newest there is


class Anthropic(HttpWorker):
    """Asks a server that speaks Anthropic's Messages API, whole or streamed. Makes no embeddings.

    Chats, tools, images and parameters are those of OpenAI's shape, like everywhere in dagflow; what has no other
    name is passed on as it is.
    """

    class Options(HttpOptions):
        base_url: BaseUrl = Field(
            "https://api.anthropic.com/v1", description="where the server's endpoints begin, mostly with `/v1`"
        )
        max_tokens: int = Field(1024, ge=1, description="the longest answer in tokens, where a record does not say")

    def _headers(self) -> Mapping[str, str]:
        key = self.options.api_key
        named = {} if not key else {"x-api-key": key.get_secret_value()}
        return {"anthropic-version": _VERSION, **named}

    def _path(self) -> str:
        return "/messages"

    def _body(self, request: Request, streams: bool) -> dict[str, Any]:
        if request.prompt is None and request.messages is None:
            raise WorkerError("refused", "there is neither a prompt nor a chat to ask")
        chat = request.messages if request.prompt is None else [{"role": "user", "content": request.prompt}]
        parameters = write_parameters(self._parameters(request), self.options.max_tokens)
        parameters.pop("n", None)
        body = {**parameters, "model": self._model(request), **write_chat(chat)}
        return {**body, "stream": True} if streams else body

    def _whole(self, data: bytes) -> Completion:
        return read_answer(data, self._session)

    def _reader(self) -> AnswerReader:
        return AnthropicReader(self._session)
