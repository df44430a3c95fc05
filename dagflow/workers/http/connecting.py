"""Connecting: what goes wrong before and between bytes, as a `WorkerError`; and which certificates are trusted."""

from __future__ import annotations

import os
import socket
import ssl
from typing import TYPE_CHECKING, Any

import msgspec

from dagflow.errors import PluginError, WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagflow.workers.http.options import HttpOptions


def error_of_connection(error: Exception, place: str, connect_s: float, shown: Callable[[bytes], str]) -> WorkerError:
    """Give the error for what aiohttp raised.

    Args:
        error: a `ClientError`, or another of the operating system's.
        place: the host and port.
        connect_s: how long a connection may take to come about.
        shown: gives what a message may show of what came, which aiohttp quotes.
    """
    import aiohttp

    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return WorkerError("unavailable", f"no connection to `{place}` within {connect_s:g} s")
    if isinstance(error, aiohttp.ClientSSLError):
        return _of_tls(error, place)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        passing = getattr(error.os_error, "errno", None) == socket.EAI_AGAIN
        text = f"the host of `{place}` has no address ({_words(error.os_error)}); look at `base_url`"
        return WorkerError("unavailable", text, retryable=passing)
    if isinstance(error, aiohttp.ClientConnectorError):
        text = f"no connection to `{place}` ({_words(error.os_error)}); see to it that the server runs there"
        return WorkerError("unavailable", text)
    if isinstance(error, aiohttp.ClientResponseError):
        said = shown(error.message.encode(errors="replace"))
        return WorkerError("protocol", f"what answers at `{place}` does not speak HTTP ({said})")
    return WorkerError("unavailable", f"the connection to `{place}` broke before the answer was complete")


def _of_tls(error: Any, place: str) -> WorkerError:
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        text = f"the certificate of `{place}` is not trusted ({cause.verify_message})"
        remedy = "set `ca_file` to the certificate of who issued it"
        if "mismatch" in cause.verify_message or "not valid for" in cause.verify_message:
            remedy = "name the host in `base_url` as the certificate does"
    else:
        text = f"no TLS with `{place}` ({getattr(cause, 'reason', None) or type(cause).__name__})"
        remedy = "a server without TLS has a `base_url` that begins with `http://`"
    return WorkerError("unavailable", f"{text}; {remedy}", retryable=False)


def _words(error: OSError) -> str:
    if (error.errno or 0) > 0:  # asyncio puts other words into `strerror`; those of name servers are below 0
        return os.strerror(error.errno)
    return error.strerror or type(error).__name__


def build_tls(options: HttpOptions, log: Any) -> ssl.SSLContext | bool:
    """Give what certificates are checked with.

    Raises:
        PluginError: `ca_file` can't be used.
    """
    if options.insecure_tls:
        log.warning("tls_not_verified", base_url=options.base_url, remedy="set `ca_file` instead of `insecure_tls`")
        return False
    if options.ca_file is None:
        return True
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(options.ca_file)
    except OSError as error:
        reason = "it holds no certificate in PEM" if isinstance(error, ssl.SSLError) else _words(error)
        raise PluginError(f"`ca_file` `{options.ca_file}` cannot be used: {reason}") from error
    return context


def encode_body(values: dict[str, Any]) -> bytes:
    """Encode a request's body.

    Raises:
        WorkerError: JSON has no form for a value in it.
    """
    try:
        return msgspec.json.encode(values)
    except (TypeError, ValueError, NotImplementedError, RecursionError) as error:
        raise WorkerError("refused", f"the request cannot be written as JSON: {error}") from error
