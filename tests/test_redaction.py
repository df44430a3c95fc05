"""Redaction: secrets in texts and in exceptions."""

from __future__ import annotations

import json
import traceback
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import BaseModel, SecretBytes, SecretStr
from rigs import Flow, ListSink, ListSource

from dagflow.errors import DagflowError, RecordError
from dagflow.redaction import Redactor

KEY = "sk-Ab\"c\\d 'é%&\n9"
STARS = "*" * 10


@pytest.mark.parametrize(
    "text",
    [
        f"401 with {KEY}.",
        f"401 with {quote(KEY, safe='')}.",
        f"401 with {json.dumps(KEY)[1:-1]}.",
        f"401 with {repr(KEY)[1:-1]}.",
    ],
)
def test_a_secret_is_found_in_every_form(text: str) -> None:
    """As it is, in a URL, in JSON, in a `repr`."""
    assert Redactor([KEY]).redact(text) == f"401 with {STARS}."


def test_the_longest_secret_goes_first() -> None:
    """No end of one stays behind."""
    assert Redactor(["password", "password-2"]).redact("password-2 and password") == f"{STARS} and {STARS}"


def test_a_short_secret_is_not_found_within_a_word() -> None:
    """Otherwise one of a letter would make every text unreadable."""
    assert Redactor(["abc"]).redact("abc, abcdef and `abc`") == f"{STARS}, abcdef and `{STARS}`"


def test_each_long_line_of_a_secret_is_one() -> None:
    """An error may quote one line of a key; an empty line is nothing to hide."""
    key = "-----BEGIN KEY-----\nMIIBVgIBADANBgkqhkiG\n\n-----END KEY-----\n"
    assert Redactor([key]).redact("line 2 is bad: MIIBVgIBADANBgkqhkiG\n\nend") == f"line 2 is bad: {STARS}\n\nend"


@pytest.mark.parametrize("secrets", [[], [""], [" "]])
def test_nothing_is_no_secret(secrets: list[str]) -> None:
    """An empty variable changes no text."""
    assert not Redactor(secrets)
    assert Redactor(secrets).redact("a b") == "a b"


def test_values_are_cleaned_at_any_depth() -> None:
    """What is no text stays, as do keys."""
    value = {"secret1": ["x secret1", 5, None, {"a": ("secret1",)}]}
    assert Redactor(["secret1"]).redact_values(value) == {"secret1": [f"x {STARS}", 5, None, {"a": (STARS,)}]}


def raised(error: BaseException, cause: BaseException | None = None, during: BaseException | None = None) -> Any:
    """Raise an exception because of another, or while another was handled, and give it with its traceback."""
    try:
        try:
            if during is not None:
                raise during
        finally:
            if cause is not None:
                raise error from cause
            raise error
    except BaseException as caught:
        return caught


class Odd(Exception):
    """Makes its text of an attribute."""

    def __init__(self) -> None:
        self.key = KEY

    def __str__(self) -> str:
        return f"odd {self.key}"


@dataclass(frozen=True)
class Frozen(Exception):
    """Lets nobody set an attribute."""

    what: str


class Fixed(Exception):
    """Has a property in the place of its arguments."""

    args = property(lambda self: ())


def nested() -> list[Any]:
    """A list that holds itself."""
    value: list[Any] = [KEY]
    value.append(value)
    return value


def noted() -> Exception:
    """An exception with a note."""
    error = ValueError("plain")
    error.add_note(f"the key is {KEY}")
    return error


@pytest.mark.parametrize(
    "error",
    [
        raised(ValueError(f"no {KEY}")),
        raised(ValueError("no"), KeyError(KEY)),
        raised(ValueError("no"), during=raised(KeyError(KEY), Odd())),
        raised(ValueError("no"), Odd()),
        raised(ValueError("no"), FileNotFoundError(2, "No such file", f"/keys/{KEY}")),
        raised(ExceptionGroup("many", [ValueError(KEY), RecordError(KEY)])),
        raised(ExceptionGroup("many", [Odd()])),
        raised(noted()),
        Odd(),
        raised(Frozen(KEY)),
        raised(ValueError("no"), Frozen(KEY), Frozen(KEY)),
        raised(Fixed(KEY)),
        raised(ValueError(nested())),
    ],
)
def test_exceptions_are_cleaned_with_all_that_they_came_from(error: BaseException) -> None:
    """What a traceback prints had the secret, and has it no more."""
    assert "sk-Ab" in "".join(traceback.format_exception(error))
    assert "sk-Ab" not in "".join(traceback.format_exception(Redactor([KEY]).scrub(error)))


@pytest.mark.parametrize("hidden", [True, False])
def test_what_was_hidden_stays_hidden_and_the_rest_is_shown(hidden: bool) -> None:
    """`raise ... from None` is not undone, nor done to what came from another exception by itself."""
    error, first = RuntimeError(KEY), ValueError(KEY)
    error.__context__, error.__suppress_context__ = first, hidden
    text = "".join(traceback.format_exception(Redactor([KEY]).scrub(error)))
    assert ("ValueError" in text) is not hidden


def test_an_exception_stays_the_same_where_it_can() -> None:
    """Only one that makes its text itself is replaced, by one that says the same."""
    own, odd = RecordError(f"no {KEY}"), raised(Odd(), ValueError(KEY))
    redactor = Redactor([KEY])
    assert redactor.scrub(own) is own
    other = redactor.scrub(odd)
    assert isinstance(other, DagflowError)
    assert str(other) == f"Odd: odd {STARS}"
    assert (other.__traceback__, other.__cause__) == (odd.__traceback__, odd.__cause__)


def test_a_record_error_stays_one() -> None:
    """Whoever asks for its code or whether to try again gets the same answers."""

    class Refused(Odd, RecordError):
        code, retryable, retry_after, node = "refused", True, 2.0, "s"

    other = Redactor([KEY]).scrub(Refused())
    assert isinstance(other, RecordError)
    assert (other.as_field(), other.retryable, other.retry_after) == (
        {"code": "refused", "message": f"odd {STARS}", "node": "s", "attempt": 1},
        True,
        2.0,
    )


def test_an_exception_may_have_come_a_long_way() -> None:
    """Each of a chain is cleaned, however long it is."""
    first = last = ValueError("no")
    for _ in range(5000):
        last.__context__ = ValueError("no")
        last = last.__context__
    last.args = (KEY,)
    assert Redactor([KEY]).scrub(first) is first
    assert str(last) == STARS


def test_exceptions_that_came_from_each_other() -> None:
    """A circle has an end."""
    first, second = ValueError(KEY), ValueError(KEY)
    first.__context__, second.__context__ = second, first
    assert str(Redactor([KEY]).scrub(first)) == str(second) == STARS


def test_what_is_raised_within_is_cleaned() -> None:
    """It goes on as it is."""
    with pytest.raises(ValueError, match=r"no \*"), Redactor([KEY]).scrubbing():
        raise ValueError(f"no {KEY}")


class Login(BaseModel):
    """A table of options."""

    password: SecretStr
    tokens: dict[str, list[SecretBytes]] = {}


class Options(BaseModel):
    """Options with secrets at several depths."""

    key: SecretStr = SecretStr("default-key")
    login: Login | None = None
    open: str = "no-secret"


def test_a_plan_s_secrets_are_those_of_its_options() -> None:
    """At any depth, defaults too."""
    flow = Flow({"in": ListSource([]), "out": ListSink()}, ["in -> out"])
    login = Login(password=SecretStr("a-password"), tokens={"x": [SecretBytes(b"a-token")]})
    for node, options in (("in", Options(login=login)), ("out", Options(key=SecretStr("other-key")))):
        object.__setattr__(flow.plan.nodes[node], "options", options)
    told = Redactor.of(flow.plan).redact("default-key a-password a-token other-key no-secret")
    assert told == f"{STARS} {STARS} {STARS} {STARS} no-secret"
