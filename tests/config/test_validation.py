"""From tables to models: strictness, references, unions, secrets."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, model_validator

from dagflow.config.diagnostics import Diagnostic
from dagflow.config.document import read_document
from dagflow.config.locate import locate
from dagflow.config.refusals import Subject
from dagflow.config.validation import validate
from dagflow.options import Duration, FilePath, Rate, Secret, Size, WorkerName

ENVIRON = {"INT": "16", "FLOAT": "1.5", "BOOL": "true", "WORD": "word", "KEY": "sk-123"}


class Colour(StrEnum):
    """Three colours."""

    RED = "red"
    GREEN = "green"


class Inner(BaseModel):
    """A nested table."""

    n: int
    word: str = ""


class Trim(BaseModel):
    """A member of a tagged union."""

    kind: Literal["trim"]


class Cut(BaseModel):
    """Another one."""

    kind: Literal["cut"]
    at: int


class Options(BaseModel):
    """Options of every type."""

    integer: int = Field(1, ge=0, lt=100)
    number: float = 1.0
    flag: bool = False
    text: str = Field("", max_length=10)
    path: FilePath = Path("x")
    colour: Colour = Colour.RED
    names: list[str] = Field([], max_length=2)
    unique: set[str] = set()
    duration: Duration = 1.0
    size: Size = 1
    rate: Rate = 1.0
    secret: Secret | None = None
    inner: Inner | None = None
    either: int | list[int] | Inner = 0
    step: Annotated[Trim | Cut, Field(discriminator="kind")] | None = None
    worker: WorkerName | None = None
    table: dict[str, int] = {}
    day: date | None = None
    anything: Any = None


def checked(text: str, model: type[Any] = Options) -> tuple[Any, list[Diagnostic]]:
    """Validate one table, `[t]`, with `text` in it."""
    document = read_document(f"[t]\n{text}\n", Path("folder/p.toml"), (), ENVIRON)
    built, found = validate(model, document.table("t"), Subject(("t",), "`[t]`"), document)
    return built, locate(found, document)


def told(text: str, model: type[Any] = Options) -> tuple[str, str, str | None]:
    """Give code, message and hint of the only diagnostic."""
    built, (diagnostic,) = checked(text, model)
    assert built is None
    return diagnostic.code, diagnostic.message, diagnostic.hint


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("integer = 3", "integer", 3),
        ("number = 3", "number", 3.0),
        ('path = "q.jsonl"', "path", Path("folder/q.jsonl")),
        ('path = "-"', "path", Path("-")),
        ('colour = "green"', "colour", Colour.GREEN),
        ('unique = ["a", "a"]', "unique", {"a"}),
        ('duration = "250ms"', "duration", 0.25),
        ('integer = "${env:INT}"', "integer", 16),
        ('number = "${env:INT}"', "number", 16.0),
        ('number = "${env:FLOAT}"', "number", 1.5),
        ('flag = "${env:BOOL}"', "flag", True),
        ('text = "${env:INT}"', "text", "16"),
        ('text = "${env:BOOL}"', "text", "true"),
        ('inner = { n = "${env:INT}", word = "${env:INT}" }', "inner", Inner(n=16, word="16")),
        ('either = "${env:INT}"', "either", 16),
        ('either = ["${env:INT}"]', "either", [16]),
        ('table = { x = "${env:INT}" }', "table", {"x": 16}),
        ("day = 1979-05-27", "day", date(1979, 5, 27)),
        ("anything = 1979-05-27", "anything", "1979-05-27"),
        ('colour = "${env:COLOUR:-green}"', "colour", Colour.GREEN),
    ],
)
def test_right_values_are_taken(text: str, name: str, value: Any) -> None:
    """Text becomes paths and members; what a reference gave becomes what the key wants."""
    built, found = checked(text)
    assert found == []
    assert getattr(built, name) == value


@pytest.mark.parametrize(
    ("text", "code", "message", "hint"),
    [
        (
            'integer = "3"',
            "wrong-type",
            '`integer` is the string `"3"`, expected an integer',
            "write it without quotes: `integer = 3`",
        ),
        ("integer = 3.0", "wrong-type", "`integer` is the number `3.0`, expected an integer", None),
        ("integer = true", "wrong-type", "`integer` is the boolean `true`, expected an integer", None),
        ('number = "x"', "wrong-type", '`number` is the string `"x"`, expected a number', None),
        ("flag = 1", "wrong-type", "`flag` is the integer `1`, expected `true` or `false`", None),
        (
            'flag = "true"',
            "wrong-type",
            '`flag` is the string `"true"`, expected `true` or `false`',
            "write it without quotes: `flag = true`",
        ),
        ("text = 3", "wrong-type", "`text` is the integer `3`, expected a string", 'write it in quotes: `text = "3"`'),
        (
            "text = 1979-05-27",
            "wrong-type",
            "`text` is the date `1979-05-27`",
            'text stands in quotes: `text = "1979-05-27"`',
        ),
        (
            "inner = { n = 1, word = 07:32:00 }",
            "wrong-type",
            "`inner.word` is the date `07:32:00`",
            'text stands in quotes: `inner.word = "07:32:00"`',
        ),
        (
            'names = "x"',
            "wrong-type",
            '`names` is the string `"x"`, expected an array',
            'write it in brackets: `names = ["x"]`',
        ),
        (
            "names = [1]",
            "wrong-type",
            "`names[0]` is the integer `1`, expected a string",
            'write it in quotes: `names[0] = "1"`',
        ),
        ("inner = 3", "wrong-type", "`inner` is the integer `3`, expected a table with `n`, `word`", None),
        ("inner = { n = [] }", "wrong-type", "`inner.n` is an array, expected an integer", None),
        ("worker = 3", "wrong-type", "`worker` is the integer `3`, expected the name of a worker", None),
        (
            'either = "x"',
            "wrong-type",
            '`either` is the string `"x"`, expected an integer or an array or a table',
            None,
        ),
        ('either = ["x"]', "wrong-type", '`either[0]` is the string `"x"`, expected an integer', None),
        ('either = { word = "x" }', "missing-option", "`either` of `[t]` needs `n`", None),
        ('integer = "${env:WORD}"', "wrong-type", "`integer` is what `${env:WORD}` gives, expected an integer", None),
        ('flag = "${env:WORD}"', "wrong-type", "`flag` is what `${env:WORD}` gives, expected `true` or `false`", None),
        ("integer = -1", "out-of-range", "`integer` is the integer `-1`, expected at least 0", None),
        ("integer = 100", "out-of-range", "`integer` is the integer `100`, expected less than 100", None),
        (
            'integer = "${env:INT}0"',
            "out-of-range",
            "`integer` is what `${env:INT}0` gives, expected less than 100",
            None,
        ),
        ('text = "much too long"', "out-of-range", "`text` needs at most 10 characters", None),
        ('names = ["a", "b", "c"]', "out-of-range", "`names` needs at most 2 elements", None),
        (
            'colour = "gren"',
            "wrong-value",
            '`colour` is the string `"gren"`, expected `red` or `green`',
            "did you mean `green`?",
        ),
        (
            'colour = "${env:WORD}"',
            "wrong-value",
            "`colour` is what `${env:WORD}` gives, expected `red` or `green`",
            None,
        ),
        (
            'step = { kind = "trimm" }',
            "wrong-value",
            "`step.kind` is `trimm`, expected `trim` or `cut`",
            "did you mean `trim`?",
        ),
        ("step = { at = 3 }", "missing-option", "`step` needs `kind`", None),
        ('step = { kind = "cut" }', "missing-option", "`step` of `[t]` needs `at`", None),
        (
            "duration = 30",
            "wrong-unit",
            '`duration` is the integer `30`, expected a duration with a unit, such as "250ms", "30s" or "5min"',
            'write the unit with it, such as `duration = "30s"`',
        ),
        (
            'duration = "5m"',
            "wrong-unit",
            '`duration` is the string `"5m"`, expected a duration with a unit, such as "250ms", "30s" or "5min"',
            'did you mean `duration = "5min"`?',
        ),
        (
            'size = "64mb"',
            "wrong-unit",
            '`size` is the string `"64mb"`, expected a size with a unit, such as "64KiB", "10MB" or "512B"',
            'did you mean `size = "64MB"`?',
        ),
        (
            "rate = 5",
            "wrong-unit",
            '`rate` is the integer `5`, expected a rate, such as "60/min" or "100/s"',
            'write the unit with it, such as `rate = "5/s"`',
        ),
        ("txt = 3", "unknown-key", "`[t]` has no key `txt`", "did you mean `text`?"),
        ("inner = { n = 1, wrod = 2 }", "unknown-key", "`inner` of `[t]` has no key `wrod`", "did you mean `word`?"),
        (
            "concurrency = 3",
            "unknown-key",
            "`[t]` has no key `concurrency`",
            "`concurrency` belongs to a stage or sink",
        ),
    ],
)
def test_wrong_values_are_told(text: str, code: str, message: str, hint: str | None) -> None:
    """One diagnostic each: what was found, what was expected, and a hint where it is certain."""
    assert told(text) == (code, message, hint)


def test_every_mistake_is_told_at_once() -> None:
    """Unknown keys, missing keys and wrong values come together."""
    _, found = checked('integer = "3"\ntxt = 1\ninner = {}\ntable = { x = "y" }')
    assert [(d.code, d.line) for d in found] == [
        ("wrong-type", 2),
        ("unknown-key", 3),
        ("missing-option", 4),
        ("wrong-type", 5),
    ]


class Guarded(BaseModel):
    """Options whose author quotes the secret in an error."""

    key: Secret
    port: int = 0

    @model_validator(mode="after")
    def _check(self) -> Guarded:
        raise ValueError(f"cannot use {self.key.get_secret_value()}")


@pytest.mark.parametrize("text", ['key = "sk-123"', 'key = "${env:KEY}"', 'key = "${env:NONE:-sk-123}"'])
def test_no_message_shows_a_secret(text: str) -> None:
    """Neither the plugin's own words nor the line of the file give it away."""
    _, found = checked(text, Guarded)
    shown = repr([(d.message, d.hint, d.source_line) for d in found])
    assert "invalid-option" in [d.code for d in found]
    assert "sk-123" not in shown
    assert "cannot use **********" in shown


@pytest.mark.parametrize("text", ["secret = 123456", 'secret = ["sk-123456"]', "secrit = 123456"])
def test_a_secret_of_the_wrong_type_or_name_is_not_shown(text: str) -> None:
    """Also where it is no string, or its key is misspelt."""
    _, (diagnostic,) = checked(text)
    assert "123456" not in f"{diagnostic.message} {diagnostic.hint} {diagnostic.source_line}"
    assert diagnostic.source_line is not None
    assert len(diagnostic.source_line) == len(text)


def test_a_literal_secret_is_a_warning() -> None:
    """The value is taken all the same."""
    built, (diagnostic,) = checked('secret = "sk-123"')
    assert built.secret.get_secret_value() == "sk-123"
    assert (diagnostic.code, diagnostic.severity, diagnostic.line) == ("literal-secret", "warning", 2)


def test_a_secret_from_a_reference_is_no_finding() -> None:
    """That is how it should be written."""
    built, found = checked('secret = "${env:KEY}"')
    assert found == []
    assert built.secret.get_secret_value() == "sk-123"
