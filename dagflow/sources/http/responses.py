"""Responses: values as JSON, and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagflow.sources.http.refusals import Refusal

SERVER: Final = "dagflow"  # the header `Server`: which library serves is nobody's business


def respond(value: Any, headers: Mapping[str, str], status: int = 200) -> web.Response:
    """Give the response that has a value as JSON; what has no such form is told by its `repr`."""
    return _response(msgspec.json.encode(value, enc_hook=_as_json), headers, status)


def refuse(refusal: Refusal, headers: Mapping[str, str]) -> web.Response:
    """Give the response of a refusal."""
    return _response(refusal.body, {**headers, **refusal.headers}, refusal.status)


def _response(body: bytes, headers: Mapping[str, str], status: int) -> web.Response:
    told = {"Server": SERVER, "Content-Type": "application/json", **headers}
    return web.Response(body=body, status=status, headers=told)


def _as_json(value: Any) -> Any:
    return value.as_dict() if hasattr(value, "as_dict") else repr(value)
