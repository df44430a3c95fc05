"""Door: who may ask the admin listener, and what its answers carry.

Only requests that name this machine as `Host` are heard, so that no page on the network can get here through a name of
its own; and none that comes from a page of another origin. All but probes, metrics and the files of the page want the
token. What changes something is a POST with a body of JSON, which no form of another page can send.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from dagflow.addresses import is_loopback_name
from dagflow.admin.replies import refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

OPEN_PATHS: Final = frozenset({"/", "/favicon.ico", "/livez", "/readyz", "/metrics"})
"""What is told without a token."""
OPEN_FOLDER: Final = "/page/"

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Server": "dagflow",
}


class Door:
    """Lets requests in, or not."""

    def __init__(self, token: str, log: Any) -> None:
        self._token = token.encode()
        self._log = log

    def install(self, app: web.Application) -> None:
        """Stand before all routes of an application."""
        from aiohttp import web

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return self._refused(request) or await self._handled(request, handler)

        app.middlewares.append(guard)
        app.on_response_prepare.append(_add_headers)

    def _refused(self, request: web.Request) -> web.Response | None:
        host = request.headers.get("Host", "")
        if not is_loopback_name(_host_of(host)):
            return refusal(403, "wrong-host", "`Host` is not this machine; ask for `127.0.0.1` or `localhost`")
        origin = request.headers.get("Origin")
        if origin is not None and origin.lower() != f"{request.scheme}://{host}".lower():
            return refusal(403, "wrong-origin", "requests of pages from elsewhere are not answered")
        if not _is_open(request.path) and not self._has_token(request):
            answer = refusal(401, "no-token", "expected `Authorization: Bearer` and the token of the token file")
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        if request.method not in ("GET", "HEAD") and request.content_type != "application/json":
            return refusal(415, "no-json", "expected a body of `Content-Type: application/json`")
        return None

    def _has_token(self, request: web.Request) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = token.strip().encode(errors="surrogatepass")
        return scheme.lower() == "bearer" and hmac.compare_digest(given, self._token)

    async def _handled(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        from aiohttp import web

        try:
            return await handler(request)
        except web.HTTPException as error:
            answer = refusal(error.status, _code_of(error.status), error.text or error.reason)
            answer.headers.extend({k: v for k, v in error.headers.items() if k == "Allow"})
            return answer
        except Exception as error:  # a bug here must not show anything, and must not go unseen
            self._log.error("the admin listener failed", path=request.path, exc_info=error)
            return refusal(500, "bug", "the admin listener failed; the log says how")


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDER)


def _host_of(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _code_of(status: int) -> str:
    return {404: "not-found", 405: "wrong-method", 413: "too-large"}.get(status, "refused")


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)
