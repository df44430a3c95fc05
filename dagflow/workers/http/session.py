"""Session: one worker's pooled connections to its server, and each answer that comes over them.

It never follows a redirect, since the key would travel along, and lets no secret into a message, also where the
server sends it back. An answer that is left before its end takes its connection with it, at once.
"""

from __future__ import annotations

import asyncio
import io
import posixpath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from dagflow.errors import WorkerError
from dagflow.redaction import Redactor
from dagflow.version import __version__
from dagflow.workers.http.connecting import build_tls, error_of_connection
from dagflow.workers.http.faults import Fault, error_of_fault, shorten

if TYPE_CHECKING:
    from collections.abc import Mapping

    import aiohttp

    from dagflow.workers.http.options import HttpOptions

CONNECT_S: Final = 10.0
_KEEPALIVE_S: Final = 4.0  # less than the 5 s of uvicorn, which else might close a connection that is being used
_LARGE_BYTES: Final = 2**20  # aiohttp warns of larger bodies, unless they are files
_DRAIN_S: Final = 1.0  # for the end of a body whose last event has come
_FAULT_BYTES: Final = 64 * 1024
_OF_KEYS: Final = ("authorization", "api-key", "x-api-key")


class Session:
    """Connections to the server of one worker. Open it before use.

    Args:
        options: the worker's.
        headers: those of each request; the worker's `extra_headers` go over them.
    """

    def __init__(self, options: HttpOptions, headers: Mapping[str, str], log: Any) -> None:
        extra = {name: secret.get_secret_value() for name, secret in options.extra_headers.items()}
        key = options.api_key.get_secret_value() if options.api_key else None
        self.has_key = bool(key) or any(name.lower() in _OF_KEYS for name in extra)
        self._redactor = Redactor([*extra.values(), *([key] if key else [])])
        self._parts = urlsplit(options.base_url)
        self._options, self._log = options, log
        self._headers = {"Content-Type": "application/json", "User-Agent": f"dagflow/{__version__}", **headers, **extra}
        self._urls: dict[str, Any] = {}
        self._client: aiohttp.ClientSession | None = None
        self._draining: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Get ready; nothing is sent yet."""
        import aiohttp

        tls = build_tls(self._options, self._log)
        # Limits are the guards' work, and so are timeouts, but for a host that does not even answer.
        connector = aiohttp.TCPConnector(limit=0, ssl=tls, keepalive_timeout=_KEEPALIVE_S)
        timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_S)
        jar = aiohttp.DummyCookieJar()
        self._client = aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=self._headers, cookie_jar=jar, raise_for_status=False
        )
        self._errors = (aiohttp.ClientError, OSError, TimeoutError)

    async def close(self) -> None:
        """Close all connections."""
        client, self._client = self._client, None
        for task in self._draining:
            task.cancel()
        await asyncio.gather(*self._draining, return_exceptions=True)
        if client is not None:
            await client.close()

    async def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a body, and give the answer when its headers have come.

        Raises:
            WorkerError: there is none, or it is no success.
        """
        return await self._ask("POST", path, body, headers)

    async def get(self, path: str) -> bytes:
        """Get a whole body.

        Raises:
            WorkerError: as for `post`.
        """
        return await (await self._ask("GET", path)).whole()

    async def post_whole(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
        """Send a body, and give the whole body of the answer.

        Raises:
            WorkerError: as for `post`.
        """
        return await (await self._ask("POST", path, body, headers)).whole()

    def redact(self, text: str) -> str:
        """Give a text without secrets."""
        return self._redactor.redact(text)

    def shown(self, data: bytes) -> str:
        """Give what a message shows of what came."""
        return shorten(self.redact(data[:4096].decode(errors="replace")))

    def error_of(self, fault: Fault, status: int | None = None, headers: Any = None) -> WorkerError:
        """Give the error for what the server says is wrong."""
        clean = Fault(self.redact(fault.message), self.redact(fault.names), fault.status)
        return error_of_fault(clean, status, headers, self.has_key)

    def connection_error(self, error: Exception) -> WorkerError:
        """Give the error for a connection that did not come about, or broke."""
        return error_of_connection(error, self._parts.netloc, CONNECT_S, self.shown)

    def drain(self, response: aiohttp.ClientResponse) -> None:
        """Wait for the end of a body that says no more, without anybody waiting for that: its connection can be
        used again then."""
        if response.content.at_eof():
            return
        task = asyncio.ensure_future(_drain(response))
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)
        # Closes the connection, unless the end has come. Also where the task was cancelled before it began.
        task.add_done_callback(lambda _: response.release())

    async def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        if self._client is None:
            raise WorkerError("unavailable", "the worker is closed", retryable=False)
        url = self._urls.get(path) or self._url(path)
        data = io.BytesIO(body) if body is not None and len(body) > _LARGE_BYTES else body
        try:
            response = await self._client.request(method, url, data=data, headers=headers, allow_redirects=False)
        except self._errors as error:
            raise self.connection_error(error) from error
        if response.status == 200:
            return Answer(self, response)
        raise await self._failure(response)

    def _url(self, path: str) -> Any:
        from yarl import URL

        # A path may begin with `/..`: a server's metrics stand beside its endpoints.
        whole = posixpath.normpath(f"/{self._parts.path}{path}").replace("//", "/")
        text = urlunsplit(self._parts._replace(path=whole))
        return self._urls.setdefault(path, URL(text, encoded=True))

    async def _failure(self, response: aiohttp.ClientResponse) -> WorkerError:
        try:
            if 300 <= response.status < 400:
                return self._redirected(response)
            body = b""
            while len(body) < _FAULT_BYTES and (block := await response.content.readany()):
                body += block
            if response.status < 300:
                return WorkerError("protocol", f"expected status 200, but found {response.status}: {self.shown(body)}")
            return self.error_of(Fault.of_body(body), response.status, response.headers)
        except self._errors:
            return self.error_of(Fault(""), response.status, response.headers)
        finally:
            response.release()

    def _redirected(self, response: aiohttp.ClientResponse) -> WorkerError:
        target = self.redact(response.headers.get("Location", "").partition("?")[0])
        where = f" to `{shorten(target)}`" if target else ""
        text = f"the server redirects{where} ({response.status}), which is not followed, since the key would travel"
        return WorkerError("refused", f"{text} along; set `base_url` to where the server is")


class Answer:
    """An answer of which the headers have come. `leave` it, whatever happens, or read its `whole`."""

    __slots__ = ("_response", "_session")

    def __init__(self, session: Session, response: aiohttp.ClientResponse) -> None:
        self._session, self._response = session, response

    @property
    def is_json(self) -> bool:
        """Whether it is one JSON value, and no stream of events."""
        return "json" in self._response.headers.get("Content-Type", "")

    async def block(self) -> bytes:
        """Give what has come, or wait for it; nothing at the end.

        Raises:
            WorkerError: the connection broke.
        """
        try:
            return await self._response.content.readany()
        except self._session._errors as error:
            raise self._session.connection_error(error) from error

    async def whole(self) -> bytes:
        """Give the whole body, and leave.

        Raises:
            WorkerError: the connection broke.
        """
        try:
            return await self._response.read()
        except self._session._errors as error:
            raise self._session.connection_error(error) from error
        finally:
            self._response.release()

    def leave(self, complete: bool) -> None:
        """Let go of the connection: close it, unless all that matters has come."""
        if complete:
            self._session.drain(self._response)
        else:
            self._response.close()


async def _drain(response: aiohttp.ClientResponse) -> None:
    try:
        async with asyncio.timeout(_DRAIN_S):
            while not response.content.at_eof():  # the end of the body may come in a piece of its own
                await response.content.readany()
    except Exception:  # whatever it is, nobody needs what would have come
        response.close()
