"""Conditions and templates: what they can say, and how they fail."""

from __future__ import annotations

from typing import Any

import pytest

from dagflow.completion import Completion
from dagflow.errors import ExpressionError
from dagflow.exchange import Usage
from dagflow.expressions import Expression, Template
from dagflow.record import Record

RECORD = Record({"input": "Why?", "n": 3, "empty": {}}, "r1", session="s", priority=5, meta={"tier": "gold"})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("input | length > 3", True),
        ("meta.tier == 'gold' and n % 2 == 1", True),
        ("meta.nothing.at.all", None),
        ("nothing", None),
        ("nothing + 1", None),
        ("nothing or 'else'", "else"),
        ("[n, 4] | select('odd')", [3]),
        ("range(3)", [0, 1, 2]),
        ("(id, session, priority, deadline)", ("r1", "s", 5, None)),
    ],
)
def test_values(text: str, value: Any) -> None:
    """An undefined name gives None; what is lazy gives a list."""
    assert Expression(text).evaluate(RECORD) == value


def test_conditions_hold_or_not() -> None:
    """What a condition does not know is false, and what it cannot compute fails the record."""
    assert not Expression("nothing.at.all > 3 or nothing").holds(RECORD)
    with pytest.raises(ExpressionError, match=r"condition `1 / \(n - 3\)` failed: division by zero"):
        Expression("1 / (n - 3)").holds(RECORD)


def test_templates_render() -> None:
    """Blocks leave no empty lines, nothing is escaped, and completions can be written as JSON."""
    template = Template("{% if n %}\n<{{ input }}>\n{% endif %}\n{{ completion | tojson }}")
    record = Record({**RECORD, "completion": Completion("So.", "stop", "m", Usage(1, 2))})
    assert template.render(record) == (
        '<Why?>\n{"text":"So.","finish_reason":"stop","model":"m","usage":{"input_tokens":1,"output_tokens":2}}'
    )


def test_values_are_never_templates() -> None:
    """What users write is put in as it stands."""
    assert Template("{{ input }}").render(Record({"input": "{{ secret }} {% x"})) == "{{ secret }} {% x"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{{ meta.nothing }}", "there is no `nothing` in a table that has `tier`"),
        ("{{ empty.nothing }}", "there is no `nothing` in a table that is empty"),
        ("{{ input.nothing }}", "there is no `nothing` in a value of type `str`"),
        ("{{ input.__class__ }}", "access to attribute '__class__' of 'str' object is unsafe"),
        ("{{ input | attr('__class__') }}", "is unsafe"),
        ("{{ '{0.__class__}'.format(input) }}", "is unsafe"),
        ("{{ [1].append(2) }}", "access to attribute 'append' of 'list' object is unsafe"),
        ("{% for i in range(10 ** 9) %}{% endfor %}", "Range too big"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "maximum recursion depth exceeded"),
    ],
)
def test_templates_fail_their_record(text: str, reason: str) -> None:
    """A prompt with a hole in it is worse than an error; Python is out of reach."""
    with pytest.raises(ExpressionError) as caught:
        Template(text).render(RECORD)
    assert reason in str(caught.value)


def test_an_error_without_a_text_is_named() -> None:
    """Some exceptions of Python say nothing."""
    with pytest.raises(ExpressionError, match="failed: MemoryError"):
        Expression("[n] * 10 ** 15").evaluate(RECORD)


@pytest.mark.parametrize("text", ["{% include 'a' %}", "{% import 'a' as b %}", "{% extends 'a' %}"])
def test_a_template_loads_no_other(text: str) -> None:
    """That is known before anything runs."""
    with pytest.raises(ValueError, match="a template cannot load another one"):
        Template(text)


@pytest.mark.parametrize(
    ("text", "names", "required"),
    [
        ("{{ a }} {{ b | default('') }} {{ meta.x }} {{ id }}", {"a", "b"}, {"a"}),
        ("{% if a is defined %}{{ a }}{% endif %}{% set c = 1 %}{{ c }}", {"a"}, set()),
        ("{% for p in passages %}{{ p.text }}{{ loop.index }}{% endfor %}", {"passages"}, {"passages"}),
    ],
)
def test_names(text: str, names: set[str], required: set[str]) -> None:
    """The fields that a text uses, and those that it cannot do without."""
    assert (Template(text).names, Template(text).required) == (names, required)


def test_what_is_undefined_within_a_value_is_null():
    """A list or table that an expression builds holds nothing that JSON does not know."""
    record = Record({"a": 1}, meta={"b": 2})
    found = Expression("[a, nothing, meta.c, [nothing.x], {'k': nothing}]").evaluate(record)
    assert found == [1, None, None, [None], {"k": None}]
    assert Expression("{'a': nothing, 'b': [meta.b]}").evaluate(record) == {"a": None, "b": [2]}
