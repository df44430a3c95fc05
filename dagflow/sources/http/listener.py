"""Listener: accepts connections, and holds them to their limits; what a request means is not its business."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from dagflow.sources.http.refusals import Refusal
from dagflow.sources.http.responses import refuse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from dagflow.addresses import Address
    from dagflow.sources.http.options import HttpOptions, TlsOptions

_MAX_LINE: Final = 8190  # bytes of a request line or a header; what servers usually allow
_MAX_HEADERS: Final = 100
_HANDSHAKE_S: Final = 10.0
_BACKLOG: Final = 1024
_TURNS: Final = 5  # of the event loop: asyncio loses connections that it has half accepted when it stops to listen
_FULL: Final = Refusal(503, "connections", "too many connections are open", retry_after_s=1)


class Listener:
    """Serves HTTP at one address, with TLS or without.

    Args:
        handle: answers a request; it is cancelled when the client leaves.
        beside: the socket of a process that shares its port with others: what they pass on comes there.
    """

    def __init__(
        self,
        options: HttpOptions,
        handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        beside: Path | None = None,
    ) -> None:
        self._options = options
        self._handle = handle
        self._beside = beside
        self._server = web.Server(
            self._answer,
            request_factory=self._build_request,
            handler_cancellation=True,
        )
        self._tls: ssl.SSLContext | None = None
        self._loop = asyncio.get_running_loop()
        self._listening: asyncio.Server | None = None
        self._from_siblings: asyncio.Server | None = None
        self._is_closed = False

    async def open(self) -> Address:
        """Begin to listen; give the address with the port that was taken.

        Raises:
            OSError: it can't be listened at, or the certificate can't be used.
        """
        address, tls = self._options.listen, self._options.tls
        context = self._tls = None if tls is None else _build_tls(tls)
        handshake = {} if context is None else {"ssl_handshake_timeout": _HANDSHAKE_S}
        self._listening = await self._loop.create_server(
            self._accept,
            address.host,
            address.port,
            ssl=context,
            backlog=_BACKLOG,
            reuse_port=self._beside and True,
            **handshake,
        )
        if self._beside is not None:
            self._beside.unlink(missing_ok=True)  # that of a process that died
            self._from_siblings = await self._loop.create_unix_server(self._accept, self._beside, backlog=_BACKLOG)
        return address.at_port(self._listening.sockets[0].getsockname()[1])

    def renew(
        self, options: HttpOptions, handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
    ) -> Callable[[], None]:
        """Give what lets another one answer at the same address, by other options; connections stay open.

        Raises:
            OSError: the certificate can't be used, or it can't be changed so far while somebody listens.
        """
        tls, before = options.tls, self._options.tls
        if (tls and tls.client_ca) != (before and before.client_ca) or (tls is None) is not (before is None):
            raise OSError("`tls` cannot be turned on or off, nor its `client_ca` be changed, while it listens")
        context = None if tls is None else _build_tls(tls)

        def switch() -> None:
            self._options, self._handle = options, handle
            if self._tls is not None:
                self._tls.sni_callback = lambda connection, _name, _before: setattr(connection, "context", context)

        return switch

    async def close(self, timeout_s: float) -> None:
        """Accept nothing more, let answers end that are being sent, then cut what is left."""
        self._is_closed = True
        if self._listening is not None:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            for server in filter(None, (self._listening, self._from_siblings)):
                server.close()
            self._listening = self._from_siblings = None
        self._server.pre_shutdown()  # idle connections are closed; those that answer close behind that
        await self._server.shutdown(timeout_s)

    def _accept(self) -> asyncio.Protocol:
        if self._is_closed or len(self._server.connections) >= self._options.max_connections:
            return _Refused()
        return _Connection(
            self._server,
            loop=self._loop,
            access_log=None,
            keepalive_timeout=self._options.idle_timeout,
            max_line_size=_MAX_LINE,
            max_field_size=_MAX_LINE,
            max_headers=_MAX_HEADERS,
            lingering_time=1.0,
            write_timeout_s=self._options.write_timeout,
        )

    def _answer(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        return self._handle(request)

    def _build_request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        limit = self._options.max_body
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop, client_max_size=limit)


class _Connection(web.RequestHandler):
    """Tells of what is no request of HTTP in the form of all errors, and cuts off who takes nothing of an answer."""

    def __init__(self, *args: Any, write_timeout_s: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._write_timeout_s = write_timeout_s
        self._looking: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """Look after a reader that lags."""
        super().pause_writing()
        self._look_later(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        self._look_no_more()

    def connection_lost(self, exc: BaseException | None) -> None:
        """It has left."""
        super().connection_lost(exc)
        self._look_no_more()

    def _look_later(self, left: int) -> None:
        self._looking = asyncio.get_running_loop().call_later(self._write_timeout_s, self._look, left)

    def _look(self, left: int) -> None:
        now_left = self.transport.get_write_buffer_size()
        if now_left < left:
            self._look_later(now_left)
        else:
            self.transport.abort()  # the handler is cancelled by that

    def _look_no_more(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size:
            raise ConnectionError("the answer has begun")
        text = "this is no request of HTTP" if status < 500 else "the service failed on this request"
        response = refuse(Refusal(status, "invalid_request", text, should_retry=False), {})
        response.force_close()
        return response


class _Refused(asyncio.Protocol):
    """Says that there is no room for another connection."""

    def connection_made(self, transport: Any) -> None:
        told = {"Content-Type": "application/json", "Content-Length": len(_FULL.body), "Connection": "close"}
        lines = [f"{name}: {value}\r\n" for name, value in {**told, **_FULL.headers}.items()]
        transport.write(f"HTTP/1.1 503 Service Unavailable\r\n{''.join(lines)}\r\n".encode() + _FULL.body)
        transport.close()


def _build_tls(options: TlsOptions) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(options.cert, options.key)
        if options.client_ca is not None:
            context.load_verify_locations(options.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:  # ssl.SSLError is one
        raise OSError(f"the certificate `{options.cert}` or its key cannot be used: {error}") from error
    return context
