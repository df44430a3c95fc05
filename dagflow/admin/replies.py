"""Replies of the admin listener: JSON, errors included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from aiohttp import web


def as_json(value: Any, status: int = 200) -> web.Response:
    """Answer with a JSON document; what JSON has no form for becomes text."""
    from aiohttp import web

    return web.Response(body=_encode(value), status=status, content_type="application/json")


def refusal(status: int, code: str, message: str) -> web.Response:
    """Answer with `{"error": {"code", "message"}}`."""
    return as_json({"error": {"code": code, "message": message}}, status)


def as_line(value: Any) -> bytes:
    """Give one line of JSON."""
    return _encode(value) + b"\n"


def _encode(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value, enc_hook=_as_plain)
    except UnicodeEncodeError:  # half of a surrogate pair, which Python's text may have, and UTF-8 has not
        return msgspec.json.encode(_encodable(msgspec.to_builtins(value, str_keys=True, enc_hook=_as_plain)))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_encodable(name): _encodable(item) for name, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list | tuple) else value


def _as_plain(value: object) -> object:
    return value.as_dict() if hasattr(value, "as_dict") else str(value)
