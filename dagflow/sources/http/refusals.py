"""Refusals: what is answered instead of an answer, and which end of a record deserves which status.

A caller gets the words of errors that are its own to mend. Those of the service are in its report and logs,
under the request's id: they may tell of what stands behind it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec

from dagflow.errors import (
    InvalidField,
    InvalidOutput,
    JoinTimeout,
    RecordError,
    StageTimeout,
    WorkerError,
    describe,
)
from dagflow.record import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    429: "rate_limit_error",
    500: "server_error",
    502: "upstream_error",
    503: "unavailable_error",
    504: "timeout_error",
}


class Refusal(Exception):
    """A request gets an error instead of an answer.

    Attributes:
        retry_after_s: when asking again may help, in seconds; None where nothing is known.
        should_retry: whether asking again may help; None to leave it to the status.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        should_retry: bool | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param
        self.retry_after_s, self.should_retry = retry_after_s, should_retry
        self._headers = headers or {}

    @property
    def body(self) -> bytes:
        """The error in OpenAI's shape, as JSON."""
        kind = _TYPES.get(self.status, _TYPES[400 if self.status < 500 else 500])
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return msgspec.json.encode({"error": error})

    @property
    def headers(self) -> dict[str, str]:
        """What the caller is to know beside it."""
        headers = dict(self._headers)
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(math.ceil(self.retry_after_s))
            headers["retry-after-ms"] = str(math.ceil(self.retry_after_s * 1000))
        if self.should_retry is not None:
            headers["x-should-retry"] = "true" if self.should_retry else "false"
        return headers


def draining(retry_after_s: float) -> Refusal:
    """The service takes no more requests, or gave this one up."""
    return Refusal(503, "draining", "the service is about to end", retry_after_s=retry_after_s, should_retry=True)


def busy(retry_after_s: float) -> Refusal:
    """There is no room for the request."""
    text = "the service has too much to do; ask again later"
    return Refusal(429, "overloaded", text, retry_after_s=retry_after_s, should_retry=True)


def refusal_of(outcome: Outcome, error: RecordError | None, retry_after_s: float) -> Refusal:
    """Give the refusal for a record that ended without an answer.

    Args:
        retry_after_s: how long the service needs for what it has now, in seconds.
    """
    if outcome is Outcome.SHED:
        return busy(retry_after_s)
    if outcome is Outcome.EXPIRED:
        return Refusal(504, "deadline", "the request's deadline has passed")
    if outcome is Outcome.CANCELLED:
        return draining(retry_after_s)
    if outcome is Outcome.FILTERED:
        return Refusal(422, "filtered", "the request was filtered out", should_retry=False)
    if outcome is Outcome.DELIVERED:
        return Refusal(500, "no-answer", "the pipeline gave no answer to this request", should_retry=False)
    return _failed(error, retry_after_s)


def _failed(error: RecordError | None, retry_after_s: float) -> Refusal:
    if isinstance(error, WorkerError):
        return _of_worker(error, retry_after_s)
    if isinstance(error, InvalidField):
        return Refusal(422, error.code, describe(error), should_retry=False)
    if isinstance(error, StageTimeout | JoinTimeout):
        return Refusal(504, error.code, "the service did not finish the request in time")
    if isinstance(error, InvalidOutput):
        return Refusal(502, error.code, "the model's answer did not have the demanded form")
    code = error.code if error is not None else "failed"
    return Refusal(500, code, "the service failed on this request", should_retry=False)


def _of_worker(error: WorkerError, retry_after_s: float) -> Refusal:
    status = error.status or _STATUS_OF_KIND[error.kind]
    if status == 429:
        wait_s = error.retry_after if error.retry_after is not None else retry_after_s
        text = describe(error) if not error.retryable else "the model has too much to do; ask again later"
        if not error.retryable:  # waiting would be in vain
            return Refusal(429, "insufficient_quota", text, should_retry=False)
        return Refusal(429, "overloaded", text, retry_after_s=wait_s, should_retry=True)
    if status < 500:
        return Refusal(status, _CODE_OF_KIND.get(error.kind, error.code), describe(error), should_retry=False)
    text = {503: "no model is available", 504: "the model did not answer in time"}.get(status, "the model failed")
    wait_s = (error.retry_after or retry_after_s) if status == 503 else error.retry_after
    return Refusal(status, error.code, text, retry_after_s=wait_s, should_retry=error.retryable)


_STATUS_OF_KIND: Final = {
    "timeout": 504,
    "unavailable": 502,
    "overloaded": 429,
    "refused": 400,
    "context_window": 400,
    "content_policy": 400,
    "protocol": 502,
}
_CODE_OF_KIND: Final = {
    "context_window": "context_length_exceeded",
    "content_policy": "content_policy_violation",
}
