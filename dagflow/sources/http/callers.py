"""Callers: who asks, and what the headers of a request say of its record."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from dagflow.access.grants import ANYBODY, Grant
from dagflow.record import Record
from dagflow.sources.http.asked import whole, wrong
from dagflow.sources.http.ids import new_id
from dagflow.sources.http.refusals import Refusal
from dagflow.traceparent import is_traceparent
from dagflow.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagflow.access.grants import Grants
    from dagflow.sources.http.asked import Asked

_ID: Final = re.compile(r"[A-Za-z0-9._:@/+=-]{1,128}")
_LONGEST_NAME: Final = 256  # characters of a session or an idempotency key


@dataclass(slots=True)
class Caller:
    """Whoever sent a request.

    Attributes:
        grant: what its token allows.
        request_id: the id of the request, its own where it gave a valid one.
    """

    grant: Grant
    request_id: str
    headers: Mapping[str, str]

    def header(self, name: str) -> str | None:
        """Give one header that names something; None where it is not there.

        Raises:
            Refusal: it is too long.
        """
        value = self.headers.get(name)
        if value is not None and len(value) > _LONGEST_NAME:
            raise wrong(f"`{name}` should have at most {_LONGEST_NAME} characters", name)
        return value or None


def identify(headers: Mapping[str, str], grants: Grants | None) -> Grant:
    """Give what the caller's token allows.

    Raises:
        Refusal: it has none, or one that nobody knows.
    """
    if grants is None:
        return ANYBODY
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    found = grants.find(token.strip()) if scheme.lower() == "bearer" else None
    if found is None:
        text = "the service demands a valid token: `Authorization: Bearer ...`"
        challenge = {"WWW-Authenticate": "Bearer"}
        raise Refusal(401, "invalid_api_key", text, should_retry=False, headers=challenge)
    return found


def request_id_of(headers: Mapping[str, str]) -> str:
    """Give the caller's own request id, if it is a valid one, else a new one."""
    given = headers.get("x-request-id")
    return given if given is not None and _ID.fullmatch(given) else f"req_{new_id()}"


def record_of(asked: Asked, caller: Caller, now_s: float, longest_s: float) -> Record:
    """Make the record of a request.

    Args:
        longest_s: the latest deadline, from now.

    Raises:
        Refusal: a header or a key of the body is wrong.
    """
    own, grant = asked.own, caller.grant
    session = caller.header("x-session-id") or _text(own, "session") or _text(own, "user")
    return Record(
        asked.fields,
        _text(own, "id") or caller.request_id,
        session and grant.scope(session),
        _priority(caller, own.get("priority")),
        now_s + min(_timeout(caller, own.get("deadline")), longest_s),
        _meta(asked, caller),
    )


def _meta(asked: Asked, caller: Caller) -> Mapping[str, Any]:
    own = asked.own
    meta = own.get("meta")
    if not isinstance(meta, dict | None):
        raise wrong("`meta` should be an object", "meta")
    told = {**(meta or {}), "request_id": caller.request_id}
    if caller.grant.tenant is not None:
        told["tenant"] = caller.grant.tenant
    elif "tenant" in told:
        del told["tenant"]  # nobody says whose a request is but its token
    for name in ("user", "metadata"):
        if own.get(name) is not None:
            told[name] = own[name]
    traceparent = caller.headers.get("traceparent")
    if traceparent is not None and is_traceparent(traceparent):
        told["traceparent"] = traceparent[:55]
    return MappingProxyType(told)


def _text(own: dict[str, Any], name: str) -> str | None:
    value = own.get(name)
    if value is not None and (not isinstance(value, str) or len(value) > _LONGEST_NAME):
        raise wrong(f"`{name}` should be a text of at most {_LONGEST_NAME} characters", name)
    return value or None


def _priority(caller: Caller, given: Any) -> int:
    header = caller.headers.get("x-priority")
    if header is not None:
        try:
            given = int(header)
        except ValueError:
            raise wrong("`x-priority` should be a whole number", "x-priority") from None
    given = 0 if given is None else whole(given)
    if not isinstance(given, int) or isinstance(given, bool) or abs(given) > 1_000_000:
        raise wrong("`priority` should be a whole number of at most a million", "priority")
    most = caller.grant.max_priority
    return given if most is None else min(given, most)


def _timeout(caller: Caller, given: Any) -> float:
    header, name = caller.headers.get("x-request-timeout"), "deadline"
    if header is not None:
        given, name = header, "x-request-timeout"
    if given is None:
        return math.inf
    if not isinstance(given, str):
        raise wrong(f"`{name}` should be a duration, such as `30s`", name)
    try:
        seconds = float(given) if name != "deadline" and _is_number(given) else parse_duration(given)
    except ValueError:
        raise wrong(f"`{name}` should be a duration, such as `30s`", name) from None
    if not seconds > 0:
        raise wrong(f"`{name}` should be above 0", name)
    return seconds


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
