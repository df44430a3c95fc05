"""Connection: to servers of NATS, which comes back by itself until it is closed.

The client library would go on for ever to look for a server that never was there, and leaves sockets of attempts that
failed to the garbage collector. Here a start that finds no server fails, and every socket is closed.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from dagflow.errors import PluginError
from dagflow.tasks import end

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagflow.mesh.nats.options import NatsOptions

_PAUSE_S: Final = 0.2  # between two attempts at one server
_PING_S: Final = 5.0  # two pings without an answer, and a connection is given up
_CLOSE_S: Final = 0.5
_SHARE_OF_ATTEMPT: Final = 0.5  # of the patience at the start; the other half is for the next server
_HOPELESS: Final = ("authorization", "authentication", "certificate", "expired")


class Connection:
    """One connection.

    Args:
        options: where the servers are, and who this is.
        name: what the servers call it.
        log: of the node that it serves.

    Attributes:
        client: that of nats-py.
        on_reconnected: called each time that the connection is there again; what was asked before is lost.
    """

    def __init__(self, options: NatsOptions, name: str, log: Any) -> None:
        self._options = options
        self._name = name
        self._log = log
        self._refused: asyncio.Future[BaseException] | None = None
        self._last_error: BaseException | None = None
        self._closing = False
        self.client: Any = None
        self.on_reconnected: list[Callable[[], None]] = []

    async def open(self) -> None:
        """Connect.

        Raises:
            PluginError: no server answers in time, or it lets nobody in who shows this.
        """
        library = load_library()
        settings = await asyncio.to_thread(_settings, self._options)
        from dagflow.mesh.nats.sockets import Socket

        self.client = library.NATS()
        self.client._transport = Socket()  # the library has no other door for it
        self._refused = asyncio.get_running_loop().create_future()
        connecting = asyncio.ensure_future(self._connect(settings))
        try:
            await asyncio.wait(
                [connecting, self._refused],
                timeout=self._options.connect_timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not connecting.done() or connecting.exception() is not None:
                raise self._failure(connecting)
        except BaseException:
            await end(connecting)
            await self.close()
            raise

    async def close(self) -> None:
        """Let go of the connection within a second; what was published before goes out if the server is there."""
        client, self.client, self._closing = self.client, None, True
        if client is None:
            return
        # Never `drain`: it waits for pull subscriptions, which have no end.
        try:
            with suppress(Exception):
                async with asyncio.timeout(_CLOSE_S):
                    await client.close()
        finally:
            if client._transport is not None:
                client._transport.abort()
        await asyncio.sleep(0)  # in which what was aborted is closed

    async def flush(self, timeout_s: float) -> None:
        """Wait until the server has all that was published; not longer than this, in seconds, and not where it is gone.

        Args:
            timeout_s: how long at most.
        """
        if self.client is not None and self.client.is_connected:
            with suppress(Exception):
                await self.client.flush(timeout=timeout_s)

    async def _connect(self, settings: dict[str, Any]) -> None:
        await self.client.connect(
            servers=list(self._options.servers),
            name=self._name,
            connect_timeout=max(self._options.connect_timeout * _SHARE_OF_ATTEMPT, 0.1),
            reconnect_time_wait=_PAUSE_S,
            max_reconnect_attempts=-1,
            ping_interval=_PING_S,
            max_outstanding_pings=2,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            **settings,
        )

    def _failure(self, connecting: asyncio.Future[None]) -> PluginError:
        error = connecting.exception() if connecting.done() else self._last_error
        if self._refused is not None and self._refused.done():  # the server may cut the connection just after it
            error = self._refused.result()
        where = ", ".join(f"`{server}`" for server in self._options.servers)
        if error is None:
            return PluginError(f"no server answers at {where} within `connect_timeout`")
        return PluginError(f"cannot connect to {where}: {said(error)}")

    async def _on_error(self, error: BaseException) -> None:
        self._last_error = error
        if self._refused is not None and not self._refused.done() and _is_hopeless(error):
            self._refused.set_result(error)
        self._log.debug("nats", error=said(error))

    async def _on_disconnected(self) -> None:
        if not self._closing:
            self._log.warning("connection lost", error=None if self._last_error is None else said(self._last_error))

    async def _on_reconnected(self) -> None:
        self._log.info("connected again")
        for told in self.on_reconnected:
            told()


def load_library() -> Any:
    """Import nats-py.

    Raises:
        PluginError: it is not installed.
    """
    try:
        import nats
    except ModuleNotFoundError:
        remedy = "install it with `pip install 'dagflow-engine[nats]'`"
        raise PluginError(f"type `nats` needs nats-py; {remedy}") from None
    return nats


def said(error: BaseException) -> str:
    """Give what an error of the client library says, without its name in front."""
    text = str(error).removeprefix("nats: ").strip("'").strip()
    if isinstance(error, OSError) and (error.errno or 0) > 0 and not isinstance(error, ssl.SSLError):
        text = os.strerror(error.errno)
    return text or type(error).__name__


def _is_hopeless(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, ssl.SSLError) or any(word in text for word in _HOPELESS)


def _settings(options: NatsOptions) -> dict[str, Any]:
    """Give what the library is told of credentials and TLS; reads files."""
    given: dict[str, Any] = {
        "user": options.user,
        "password": options.password and options.password.get_secret_value(),
        "token": options.token and options.token.get_secret_value(),
        "nkeys_seed_str": options.nkey and options.nkey.get_secret_value(),
    }
    if options.credentials is not None:
        if not options.credentials.is_file():
            raise PluginError(f"`credentials` `{options.credentials}` cannot be read: there is no such file")
        given["user_credentials"] = str(options.credentials)
    if options.nkey is not None or options.credentials is not None:
        _check_keys(options)
    if options.tls:
        given["tls"], given["tls_hostname"] = _tls(options), options.server_name
    return {name: value for name, value in given.items() if value is not None}


def _check_keys(options: NatsOptions) -> None:
    try:
        import nkeys
    except ModuleNotFoundError:
        remedy = "install it with `pip install 'dagflow-engine[nats]'`"
        raise PluginError(f"`nkey` and `credentials` need the package nkeys; {remedy}") from None
    if options.nkey is not None:
        try:
            nkeys.from_seed(bytearray(options.nkey.get_secret_value().strip().encode())).wipe()
        except Exception:
            raise PluginError("`nkey` is no seed of an NKey; one begins with `SU`") from None


def _tls(options: NatsOptions) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        if options.ca_file is not None:
            context = ssl.create_default_context(cafile=options.ca_file)
        if options.cert_file is not None:
            context.load_cert_chain(options.cert_file, options.key_file)
    except OSError as error:
        reason = "they are no certificates in PEM, or do not fit" if isinstance(error, ssl.SSLError) else said(error)
        raise PluginError(f"the files of `tls` cannot be used: {reason}") from error
    return context
