"""Faults: what servers say is wrong becomes an error of the right kind, with what helps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import msgspec
import pytest

from dagflow.workers.http.faults import Fault, error_of_fault, retry_after_s


def error(status, body="", **headers):
    """Give the error for an answer."""
    data = body.encode() if isinstance(body, str) else msgspec.json.encode(body)
    return error_of_fault(Fault.of_body(data), status, {n.replace("_", "-"): v for n, v in headers.items()})


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "Too much.", "code": "context_length_exceeded", "type": "invalid_request_error"}}),
        (
            400,
            {"error": {"message": "This model's maximum context length is 8192 tokens. However, you requested 9000."}},
        ),
        (400, {"message": "The decoder prompt (length 300) is longer than the maximum model length of 256."}),
        (400, {"error": {"code": 400, "message": "too much", "type": "exceed_context_size_error"}}),
        (500, {"error": {"message": "Requested tokens (600) exceed context window of 512"}}),
        (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}}),
        (
            400,
            {"type": "error", "error": {"message": "input length and `max_tokens` exceed context limit: 9 + 8 > 10"}},
        ),
        (413, {"error": "the input length exceeds the context length"}),
    ],
)
def test_prompts_that_are_too_long(status, body):
    """In the words of OpenAI, vLLM, llama.cpp's servers, Anthropic and Ollama."""
    assert (error(status, body).kind, error(status, body).retryable) == ("context_window", False)


@pytest.mark.parametrize(
    ("status", "body", "kind", "retryable", "says"),
    [
        (
            400,
            {"error": {"message": "Bad.", "code": "content_policy_violation"}},
            "content_policy",
            False,
            "not allowed",
        ),
        (400, {"error": {"message": "Odd `top_p`."}}, "refused", False, "(400): Odd `top_p`."),
        (401, {"error": {"message": "No."}}, "refused", False, "set `api_key` to a valid one"),
        (403, "", "refused", False, "does not allow this (403); set `api_key`"),
        (402, "", "refused", False, "billing"),
        (404, {"error": {"message": "The model `x` does not exist."}}, "refused", False, "set `model`"),
        (404, {"detail": "Not Found"}, "refused", False, "`base_url`"),
        (408, "", "timeout", True, "(408)"),
        (504, "<html>late</html>", "timeout", True, "<html>late</html>"),
        (409, "", "overloaded", True, "(409)"),
        (413, "", "refused", False, "too large"),
        (422, {"detail": [{"msg": "field required"}]}, "refused", False, "field required"),
        (429, {"error": {"message": "Slow down."}}, "overloaded", True, "Slow down."),
        (429, {"error": {"message": "Pay.", "code": "insufficient_quota"}}, "refused", False, "billing"),
        (500, "", "unavailable", True, "(500)"),
        (503, "", "unavailable", True, "(503)"),
        (529, "", "overloaded", True, "(529)"),
        (418, [{"error": {"message": "listed"}}], "refused", False, "listed"),
    ],
)
def test_the_other_kinds(status, body, kind, retryable, says):
    """By status, type, code and words."""
    found = error(status, body)
    assert (found.kind, found.retryable) == (kind, retryable)
    assert says in str(found)


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (400, {"error": {"message": "Odd `top_p`."}}, None),
        (413, "", None),
        (401, "", 502),
        (404, {"detail": "Not Found"}, 502),
        (429, {"error": {"message": "Pay.", "code": "insufficient_quota"}}, 502),
        (400, {"error": {"message": "Your credit balance is too low."}}, 502),
        (500, "", None),
    ],
)
def test_what_is_not_the_callers_to_mend(status, body, told):
    """A wrong key, a wrong URL and an empty account are faults of the worker's table."""
    assert error(status, body).status == told


def test_without_a_key_one_is_demanded():
    """What is missing is not wrong."""
    assert "demands a key (401); set `api_key`" in str(error_of_fault(Fault(""), 401, {}, has_key=False))


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"error": {"type": "overloaded_error", "message": "busy"}}, "overloaded"),
        ({"error": {"code": "rate_limit_exceeded", "message": "slow"}}, "overloaded"),
        ({"error": {"code": 400, "message": "odd"}}, "refused"),
        ({"error": {"code": "503", "message": "down"}}, "unavailable"),
        ({"error": {"type": "authentication_error", "message": "who"}}, "refused"),
        ({"error": {"type": "timeout_error", "message": "late"}}, "timeout"),
        ({"error": {"type": "server_error", "message": "maximum context length is 8"}}, "context_window"),
        ({"error": "something"}, "unavailable"),
    ],
)
def test_in_mid_stream_the_body_tells_alone(fault, kind):
    """Type or code stand for the status; without any it is the server's failure."""
    assert error_of_fault(Fault.of(fault)).kind == kind


def test_a_server_says_whether_to_retry():
    """It is believed, whatever the status says."""
    assert error(500, x_should_retry="false").retryable is False
    assert error(400, x_should_retry="true").retryable is True
    assert error(500, x_should_retry="perhaps").retryable is True


def test_a_server_says_when_to_come_back():
    """In milliseconds, seconds or as a date; with such a time, 503 is no outage."""
    assert retry_after_s({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert retry_after_s({"retry-after": "2.5"}) == 2.5
    assert retry_after_s({"retry-after": "-3"}) == 0
    assert [retry_after_s({"retry-after": text}) for text in ("soon", "nan", "inf", "")] == [None] * 4
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 55 < retry_after_s({"retry-after": later}) <= 60
    assert retry_after_s({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    found = error(503, retry_after="7")
    assert (found.kind, found.retry_after) == ("overloaded", 7.0)


def test_long_words_are_cut():
    """A page of HTML is not repeated, and what is shown stands on one line."""
    assert str(error(500, {"error": "two\n  lines"})).endswith("(500): two lines")
    assert len(str(error(500, "x" * 9000))) < 300
    assert len(str(error(404, {"detail": {"model": "y" * 9000}}))) < 400
