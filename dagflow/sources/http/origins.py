"""Origins: for which host a request is, and which web page it comes from.

A page in a browser can send requests to any address that the browser reaches, services on loopback included. Its
requests have an `Origin`; those by a name that was bent to loopback have another `Host`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dagflow.addresses import is_loopback_name
from dagflow.sources.http.refusals import Refusal

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest

    from dagflow.sources.http.options import HttpOptions

_METHODS: Final = "GET, POST, DELETE"
_MAX_AGE_S: Final = 600
_EXPOSED: Final = "x-request-id, Retry-After, retry-after-ms, x-should-retry"


class Origins:
    """The hosts and origins that are let in."""

    def __init__(self, options: HttpOptions) -> None:
        self._hosts = frozenset(host.lower() for host in options.hosts)
        self._loopback = options.listen.is_loopback
        self._origins = frozenset(options.cors_origins)

    def check(self, request: BaseRequest) -> dict[str, str]:
        """Give the headers for the page that a request comes from, if it comes from one.

        Raises:
            Refusal: it is for another host, or its page may not use the service.
        """
        if not self._is_ours(request.host):
            raise Refusal(421, "wrong_host", "the service is not known by this `Host`", should_retry=False)
        origin = request.headers.get("Origin")
        if origin is None:
            return {}
        if origin.lower() not in self._origins:
            raise Refusal(
                403, "origin_not_allowed", "pages of this `Origin` may not use the service", should_retry=False
            )
        return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": _EXPOSED, "Vary": "Origin"}

    def preflight(self, request: BaseRequest) -> dict[str, str]:
        """Answer a browser that asks what a page may do.

        Raises:
            Refusal: no page asks.
        """
        if "Origin" not in request.headers:
            raise Refusal(405, "method_not_allowed", "`OPTIONS` is for pages in browsers", should_retry=False)
        return {
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": request.headers.get("Access-Control-Request-Headers", ""),
            "Access-Control-Max-Age": str(_MAX_AGE_S),
        }

    def _is_ours(self, host: str) -> bool:
        if not self._hosts and not self._loopback:
            return True
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        name = name.strip("[]").lower()
        return name in self._hosts or host.lower() in self._hosts or (self._loopback and is_loopback_name(name))
