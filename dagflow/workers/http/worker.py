"""HttpWorker: how a worker asks a server over HTTP, whatever the server's dialect is."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec
from msgspec import Struct

from dagflow.errors import WorkerError
from dagflow.plugin import ModelWorker
from dagflow.workers.http.connecting import encode_body
from dagflow.workers.http.reading import decode_answer
from dagflow.workers.http.session import Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from dagflow.completion import Completion
    from dagflow.exchange import Chunk, Request
    from dagflow.plugin import Context
    from dagflow.workers.http.reading import AnswerReader


class _Model(Struct):
    id: str


class _Models(Struct):
    data: list[_Model]


_MODELS: Final = msgspec.json.Decoder(_Models)

# What the keys of a request's body must not be overridden by, and what is for dagflow alone.
_NOT_PARAMETERS: Final = ("messages", "prompt", "model", "stream", "stream_options", "priority")


class HttpWorker(ModelWorker):
    """Asks one server; a class for each dialect says how a request is written and an answer read."""

    incidental = frozenset(
        {"base_url", "api_key", "extra_headers", "ca_file", "insecure_tls", "stream_usage", "embed_batch"}
    )

    remote: ClassVar[bool] = True
    _session: Session | None = None

    @abstractmethod
    def _headers(self) -> Mapping[str, str]:
        """Give the headers of each request, with the key."""

    @abstractmethod
    def _path(self) -> str:
        """Give the path of the endpoint, after `base_url`."""

    @abstractmethod
    def _body(self, request: Request, streams: bool) -> dict[str, Any]:
        """Write a request.

        Raises:
            WorkerError: it cannot be asked.
        """

    @abstractmethod
    def _whole(self, data: bytes) -> Completion:
        """Read a whole answer.

        Raises:
            WorkerError: it is none.
        """

    @abstractmethod
    def _reader(self) -> AnswerReader:
        """Build what reads a streamed answer."""

    async def open(self, context: Context) -> None:
        await super().open(context)
        self._session = Session(self.options, self._headers(), context.logger)
        await self._session.open()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def infer(self, request: Request) -> Completion:
        body = encode_body(self._body(request, streams=False))
        return self._whole(await self._session.post_whole(self._path(), body, _trace_of(request)))

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        body = encode_body(self._body(request, streams=True))
        answer = await self._session.post(self._path(), body, _trace_of(request))
        reader = self._reader()
        try:
            if answer.is_json:  # a server that does not stream
                async for chunk in self._whole(await answer.whole()).chunks():
                    yield chunk
                return
            while not reader.done:
                try:
                    chunks = reader.feed(await answer.block())
                except WorkerError as error:
                    chunks = reader.cut(error)
                for chunk in chunks:
                    yield chunk
                if reader.failure is not None:
                    raise reader.failure
        finally:
            answer.leave(complete=reader.done)

    async def probe(self) -> str:
        """Look for the model in the server's list, and ask for one token where that does not tell."""
        try:
            names = [
                model.id for model in decode_answer(_MODELS, await self._session.get("/models"), self._session).data
            ]
        except WorkerError as error:
            if error.kind not in ("refused", "protocol"):  # what a server without such a list says
                raise
            return await super().probe()
        if self.options.model in names:
            return f"model `{self.options.model}` is served"
        try:
            return await super().probe()
        except WorkerError as error:
            if error.kind != "refused" or not names:
                raise
            some = ", ".join(f"`{name}`" for name in names[:5])
            raise WorkerError("refused", f"{error}; the server has {some}") from error

    def _model(self, request: Request) -> str:
        model = self.options.model or request.model
        if not model:
            raise WorkerError("refused", "no model is named; set `model` in the worker's table", status=502)
        return model

    def _parameters(self, request: Request) -> dict[str, Any]:
        """Give what a body has beside the question: the request's parameters, over those of the worker."""
        given = request.parameters
        if any(name in given for name in _NOT_PARAMETERS):
            given = {name: value for name, value in given.items() if name not in _NOT_PARAMETERS}
        parameters = {**self.options.extra_body, **given}
        count = parameters.get("n")
        if count is not None and count != 1:
            raise WorkerError("refused", f"parameter `n` is `{count}`, but a record has one answer; leave `n` out")
        return parameters


def _trace_of(request: Request) -> dict[str, str] | None:
    """Give the header that carries the trace on, where there is one."""
    parent = request.metadata.get("traceparent")
    return {"traceparent": parent} if isinstance(parent, str) else None
