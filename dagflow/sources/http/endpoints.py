"""Endpoints: from a request to its response. Who may ask is settled before its body is read.

Every response, errors included, has the request's id. A caller that leaves cancels its handler, wherever that
waits; what nobody waits for any more is taken out of the pipeline.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from dagflow.errors import describe
from dagflow.sources.http.answers import build_model, build_models
from dagflow.sources.http.asked import OPERATIONS
from dagflow.sources.http.bodies import read_body
from dagflow.sources.http.callers import Caller, identify, request_id_of
from dagflow.sources.http.openapi import build_openapi
from dagflow.sources.http.origins import Origins
from dagflow.sources.http.refusals import Refusal
from dagflow.sources.http.responses import refuse, respond
from dagflow.sources.http.siblings import RECORD, RECORDS

if TYPE_CHECKING:
    from dagflow.plugin import Context
    from dagflow.sources.http.asking import Asking
    from dagflow.sources.http.options import HttpOptions
    from dagflow.sources.http.recording import Recording
    from dagflow.sources.http.siblings import Siblings

_MODELS: Final = "/v1/models"


class Endpoints:
    """What the service answers at which path.

    Attributes:
        heir: who answers instead, since another plan has taken over.
    """

    def __init__(
        self,
        options: HttpOptions,
        context: Context,
        asking: Asking,
        recording: Recording,
        siblings: Siblings | None = None,
    ) -> None:
        self.heir: Endpoints | None = None
        self._siblings = siblings
        self._options = options
        self._grants = context.grants
        self._log = context.logger
        self._asking = asking
        self._recording = recording
        self._origins = Origins(options)
        self._created_s = int(time())

    def replace(self, before: Endpoints) -> None:
        """Answer from now on what comes there."""
        before.heir = self
        self._asking.replace(before._asking)
        self._recording.replace(before._recording)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; never raises, but when the client has left."""
        if self.heir is not None:
            return await self.heir.handle(request)
        headers = {"x-request-id": self._request_id_of(request)}
        try:
            headers |= self._origins.check(request)
            if request.method == "OPTIONS":
                return web.Response(status=204, headers={**headers, **self._origins.preflight(request)})
            response = await self._answer(request, headers)
        except Refusal as refusal:
            response = refuse(refusal, headers)
        except ConnectionError:
            raise
        except Exception as error:
            self._log.error("request failed", request_id=headers["x-request-id"], error=describe(error), exc_info=error)
            response = refuse(Refusal(500, "bug", "the service failed on this request", should_retry=False), headers)
        return response

    async def _answer(self, request: web.BaseRequest, headers: dict[str, str]) -> web.StreamResponse:
        path, method = request.path, request.method
        if path in OPERATIONS and (path == RECORD or not self._options.fields):
            self._demand(method, ("POST",))
            caller = self._caller(request, headers)
            body = await read_body(request, self._options.max_body, self._options.body_timeout)
            return await self._take(request, caller, body, headers)
        if path.startswith(RECORDS):
            self._demand(method, ("GET", "DELETE"))
            caller, id = self._caller(request, headers), path.removeprefix(RECORDS)
            if (owner := self._owner_of(request, headers)) is not None:
                return await self._siblings.pass_on(owner, request, b"", headers["x-request-id"])
            shown = self._recording.get(caller, id) if method == "GET" else await self._recording.delete(caller, id)
            return respond(shown, headers)
        if path == _MODELS or path.startswith(f"{_MODELS}/"):
            self._demand(method, ("GET",))
            self._caller(request, headers)
            return respond(self._models(path.removeprefix(_MODELS).removeprefix("/")), headers)
        if path == "/openapi.json":
            self._demand(method, ("GET",))
            options = self._options
            return respond(build_openapi(options.models, options.fields, self._grants is not None), headers)
        raise Refusal(404, "not_found", f"there is nothing at `{path[:200]}`", should_retry=False)

    async def _take(
        self, request: web.BaseRequest, caller: Caller, body: bytes, headers: dict[str, str]
    ) -> web.StreamResponse:
        """Answer a request that has been read."""
        if self.heir is not None:  # since it began to come
            return await self.heir._take(request, self.heir._caller(request, headers), body, headers)
        if (owner := self._owner_of(request, headers, body)) is not None:
            return await self._siblings.pass_on(owner, request, body, headers["x-request-id"])
        answer = self._recording.post if request.path == RECORD else self._asking.post
        return await answer(request, caller, body, headers)

    def _request_id_of(self, request: web.BaseRequest) -> str:
        """Give the caller's own request id, or a new one; that of a record has to be found again."""
        if self._siblings is not None and request.path == RECORD and "x-request-id" not in request.headers:
            return self._siblings.own_id()
        return request_id_of(request.headers)

    def _owner_of(self, request: web.BaseRequest, headers: dict[str, str], body: bytes = b"") -> int | None:
        return None if self._siblings is None else self._siblings.owner_of(request, body, headers["x-request-id"])

    def _caller(self, request: web.BaseRequest, headers: dict[str, str]) -> Caller:
        return Caller(identify(request.headers, self._grants), headers["x-request-id"], request.headers)

    def _models(self, name: str) -> dict[str, Any]:
        if not name:
            return build_models(self._options.models, self._created_s)
        if name not in self._options.models:
            raise Refusal(404, "model_not_found", f"there is no model `{name[:200]}`", should_retry=False)
        return build_model(name, self._created_s)

    def _demand(self, method: str, allowed: tuple[str, ...]) -> None:
        if method not in allowed:
            text = f"`{method}` is not possible here; {' or '.join(allowed)} is"
            allow = {"Allow": ", ".join(allowed)}
            raise Refusal(405, "method_not_allowed", text, should_retry=False, headers=allow)
