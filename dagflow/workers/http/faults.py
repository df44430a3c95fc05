"""Faults: what a server says is wrong, as a `WorkerError` of the right kind.

Servers say it by a status, by a type or code in the body, and in words; in mid-stream there is no status. The words
of OpenAI, vLLM, llama.cpp's servers, Ollama and Anthropic are known here, and nowhere else.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dagflow.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHOWN: Final = 200  # characters of a server's words; more is rarely read, and may be a whole page
_CONTEXT: Final = re.compile(
    r"context[ _-]?(length|window|size|limit)|maximum (model|prompt|input) length|max_model_len"
    r"|(prompt|input)\b.{0,80}\b(too long|longer than)|too many tokens",
    re.IGNORECASE | re.DOTALL,
)
_POLICY: Final = re.compile(
    r"content[ _-]?(filter|policy|management policy|moderation)|responsible ?ai|safety (system|policy)|usage polic",
    re.IGNORECASE,
)
_SPENT: Final = re.compile(r"insufficient_quota|billing|credit balance", re.IGNORECASE)
_OF_MODEL: Final = re.compile(r"model|deployment", re.IGNORECASE)

# What stands for a status where there is none.
_STATUS_OF: Final = {
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "notfounderror": 404,
    "model_not_found": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}

_OF_TABLE: Final = (401, 402, 403, 404, 429)


@dataclass(frozen=True, slots=True)
class Fault:
    """What a server says: its words, and the names that it has for the case."""

    message: str
    names: str = ""
    status: int | None = None

    @classmethod
    def of(cls, value: Any) -> Fault:
        """Read a fault from a decoded body, or from the `error` in it, in any of the usual shapes."""
        if isinstance(value, list) and value:
            value = value[0]
        if not isinstance(value, dict):
            return cls(value if isinstance(value, str) else "" if value is None else str(value))
        inner = value.get("error")
        if isinstance(inner, dict | str | list) and inner:
            return cls.of(inner)
        text = next((value[name] for name in ("message", "detail", "msg") if value.get(name)), "")
        named = [value.get(name) for name in ("type", "code", "param")]
        return cls(
            text if isinstance(text, str) else str(text), " ".join(map(str, filter(None, named))), _status(value)
        )

    @classmethod
    def of_body(cls, body: bytes) -> Fault:
        """Read a fault from a body that may be anything."""
        try:
            return cls.of(msgspec.json.decode(body))
        except (ValueError, RecursionError):
            return cls(body.decode(errors="replace"))


def _status(value: Mapping[str, Any]) -> int | None:
    for name in ("code", "status", "type"):
        found = value.get(name)
        if isinstance(found, str):
            found = int(found) if found.isdecimal() and len(found) == 3 else _STATUS_OF.get(found.lower())
        if isinstance(found, int) and 400 <= found < 600:
            return found
    return None


def shorten(text: str) -> str:
    """Give what is shown of a server's words, on one line."""
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def error_of_fault(
    fault: Fault, status: int | None = None, headers: Mapping[str, str] | None = None, has_key: bool = True
) -> WorkerError:
    """Give the error for a fault.

    Args:
        fault: what the server says, without secrets.
        status: of the answer; None in mid-stream, and where an error came with 200.
        headers: of the answer; names in any case.
        has_key: whether a key was sent.
    """
    headers = headers or {}
    known = status or fault.status or 500
    retry_after = retry_after_s(headers)
    kind, reason = _judge(fault, known, retry_after, has_key)
    told = f"{status}" if status is not None else fault.names.partition(" ")[0] or "error"
    words = f": {shorten(fault.message)}" if fault.message else ""
    before, _, remedy = reason.partition("; ")
    message = f"{before} ({told}){words}" + (f"; {remedy}" if remedy else "")
    should = {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())
    # Neither a wrong key nor a wrong URL is the caller's to mend, whatever the server's status says of us.
    not_theirs = known in _OF_TABLE or _SPENT.search(f"{fault.names} {fault.message}")
    own = 502 if kind == "refused" and not_theirs else None
    return WorkerError(kind, message, retryable=should, retry_after=retry_after, status=own)


def _judge(fault: Fault, status: int, retry_after: float | None, has_key: bool) -> tuple[str, str]:
    """Give the kind, and what is wrong with the remedy behind a semicolon."""
    said = f"{fault.names} {fault.message}"
    if status in (400, 413, 422, 500) and _CONTEXT.search(said):
        return "context_window", "prompt and wanted answer are too long for the model"
    if status in (400, 403, 422) and _POLICY.search(said):
        return "content_policy", "the content is not allowed"
    if status == 402 or (status in (400, 429) and _SPENT.search(said)):
        return "refused", "the account has nothing left; waiting does not help, the provider's billing page may"
    if status in (401, 403):
        return "refused", _of_key(status, has_key)
    if status == 404:
        return "refused", _of_missing(said)
    if status in (409, 429, 529) or (status == 503 and retry_after is not None):
        return "overloaded", "the server has too much to do"
    if status in (408, 504):
        return "timeout", "the server gave up waiting"
    if status == 413:
        return "refused", "the request is too large for the server"
    return ("unavailable", "the server failed") if status >= 500 else ("refused", "the server refuses the request")


def _of_key(status: int, has_key: bool) -> str:
    if not has_key:
        return "the server demands a key; set `api_key`, such as to `${env:NAME}`"
    if status == 401:
        return "the server does not accept the key; set `api_key` to a valid one"
    return "the key does not allow this; set `api_key` to one that does"


def _of_missing(said: str) -> str:
    if _OF_MODEL.search(said):
        return "the server has no such model; set `model` to one that it serves"
    return "nothing answers at this URL; look at `base_url`, which should lead to the endpoints, mostly with `/v1`"


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Give for how many seconds a server wants to be left alone: `retry-after-ms`, or `Retry-After` in seconds or as a
    date; None where it does not say."""
    if (ms := _number(headers.get("retry-after-ms"))) is not None:
        return ms / 1000
    value = headers.get("Retry-After") or headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or not value:
        return seconds
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None
