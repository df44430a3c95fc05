"""Field flow: what is read was written before, on every way."""

from __future__ import annotations

import pytest
from toys import chain, codes, findings

ASK = 'type = "ask"\nworker = "w"'
WORKER = '[workers.w]\ntype = "remote"\n'


def fill(template: str, output: str = "prompt") -> str:
    """Give a stage that reads the names in a template and writes a field."""
    return f'type = "fill"\ntemplate = "{template}"\noutput = "{output}"'


def test_what_a_source_or_stage_wrote_can_be_read() -> None:
    """Fields add up along the way."""
    assert codes(chain(fill("{{ input }}", "x"), fill("{{ input }} {{ x }}", "y"), fill("{{ x }}{{ y }}"))) == []


@pytest.mark.parametrize("name", ["id", "session", "priority", "deadline", "meta.tier"])
def test_some_names_are_always_there(name: str) -> None:
    """They belong to the record itself."""
    assert codes(chain(fill(f"{{{{ {name} }}}}"))) == []


def test_the_source_of_the_bad_way_is_named() -> None:
    """Of two sources, the one that does not write the field."""
    file = chain(
        fill("{{ input }}"),
        edges='{ from = "a", to = "b" }, { from = "n", to = "b" }, { from = "b", to = "z" }',
        more='[sources.n]\ntype = "lines"\npath = "in"\nfields = ["n"]\n',
    )
    (found,) = findings(file)
    assert found.message == "stage `b` reads `input`, but on the way `n` -> `b` nothing writes it"


def test_of_two_ways_from_one_source_the_bad_one_is_shown() -> None:
    """Every way counts, not any."""
    file = chain(
        fill("{{ input }}", "x"),
        fill("{{ x }}", "y"),
        edges='{ from = "a", to = "b" }, { from = "b", to = "c" }, { from = "a", to = "c" }, { from = "c", to = "z" }',
    )
    (found,) = findings(file)
    assert found.message == "stage `c` reads `x`, but on the way `a` -> `c` nothing writes it"


def test_one_of_a_group_is_enough() -> None:
    """A stage may read either of two fields."""
    messages = 'type = "lines"\npath = "in"\nfields = ["messages"]'
    assert codes(chain(ASK, source=messages, more=WORKER)) == []
    assert codes(chain(fill("{{ input }}"), ASK, more=WORKER)) == []
    (found,) = findings(chain(ASK, more=WORKER))
    assert found.message == "stage `b` reads `messages` or `prompt`, but nothing on the way from `a` writes it"


def test_each_way_may_bring_another_one_of_a_group() -> None:
    """Where two ways meet, every record has one of the two fields."""
    edges = '{ from = "a", to = "b" }, { from = "b", to = "c" }, { from = "n", to = "c" }, { from = "c", to = "z" }'
    more = '[sources.n]\ntype = "lines"\npath = "in"\nfields = ["{}"]\n' + WORKER
    assert codes(chain(fill("{{ input }}"), ASK, edges=edges, more=more.replace("{}", "messages"))) == []
    (found,) = findings(chain(fill("x"), ASK, edges=edges, more=more.replace("{}", "x")))
    assert found.message == "stage `c` reads `messages` or `prompt`, but on the way `n` -> `c` nothing writes it"


def test_each_way_may_bring_another_of_a_group() -> None:
    """One branch writes `prompt`, the other `messages`; both may meet before the stage that reads one of them."""
    stages = (fill("{{ input }}"), fill("{{ input }}", "messages"), 'type = "route"', ASK)
    pairs = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", "e"), ("e", "z")]
    edges = "".join(f'{{ from = "{start}", to = "{end}" }},\n' for start, end in pairs)
    assert codes(chain(*stages, edges=edges, more=WORKER)) == []
    direct = edges.replace('"c", to = "d"', '"c", to = "e"')
    assert codes(chain(*stages, edges=direct, more=WORKER)) == []


def test_a_missing_field_is_told_once() -> None:
    """Those behind the first reader need not miss it again; a group that was met adds nothing."""
    assert codes(chain(fill("{{ x }}", "y"), fill("{{ x }}", "u"))) == ["field-not-written"]
    file = chain(fill("{{ input }}"), ASK, fill("{{ messages }}"), more=WORKER)
    (found,) = findings(file)
    assert found.message.startswith("stage `d` reads `messages`")


def test_who_declares_nothing_may_write_anything() -> None:
    """The benefit of the doubt, behind it only."""
    assert codes(chain('type = "split"', fill("{{ x }}"))) == []
    assert codes(chain(fill("{{ x }}"), 'type = "split"')) == ["field-not-written"]


def test_a_node_that_could_not_be_built_may_write_anything() -> None:
    """One mistake, one finding."""
    assert codes(chain('type = "fil"', fill("{{ x }}"))) == ["unknown-type"]


def test_an_error_port_gives_what_the_node_was_given_and_the_error() -> None:
    """Not what it would have written."""

    def errors(template: str) -> str:
        rows = [("a", "b"), ("b", "z"), ("b.error", "c"), ("c", "z")]
        edges = ", ".join(f'{{ from = "{start}", to = "{end}" }}' for start, end in rows)
        return chain(fill("{{ input }}", "x") + '\non_error = "port"', fill(template), edges=edges)

    assert codes(errors("{{ input }} {{ error.message }}")) == []
    (found,) = findings(errors("{{ x }}"))
    assert found.message == "stage `c` reads `x`, but nothing on the way from `a` writes it"


def test_a_guarded_name_need_not_be_written() -> None:
    """A template may ask whether a field is there."""
    assert codes(chain(fill("{% if x is defined %}{{ x }}{% endif %}{{ y | default(3) }}"))) == []


@pytest.mark.parametrize(
    ("stages", "hint"),
    [
        ((fill("{{ inptu }}"),), "did you mean `input`?"),
        ((fill("{{ prompt }}", "x"),), "put a stage that writes `prompt` before it, such as type `template`"),
        ((fill("{{ x }}"), fill("{{ input }}", "x")), "stage `c` writes `x`; it must stand before `b` on every way"),
        ((fill("{{ database }}"),), "its records have `input`"),
    ],
)
def test_hints_name_a_near_field_or_a_writer(stages: tuple[str, ...], hint: str) -> None:
    """In this order: a slip, a node of the file, a type of the built-ins, what there is instead."""
    (found,) = findings(chain(*stages))
    assert (found.code, found.hint) == ("field-not-written", hint)


def test_what_no_source_reaches_is_not_checked() -> None:
    """It is told as unreachable."""
    file = chain(fill("{{ x }}"), edges='{ from = "a", to = "z" }, { from = "b", to = "z" }')
    assert codes(file) == ["unreachable-node"]


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("input | length > 3 and meta.tier == 'gold'", []),
        ("x", ["undefined-in-condition"]),
        ("x is defined or y | default(true)", []),
        ("x and y", ["undefined-in-condition"] * 2),
        ("prompt", []),
    ],
)
def test_conditions_use_what_is_written_somewhere(when: str, expected: list[str]) -> None:
    """An undefined name is false, which is only a warning."""
    edges = f'{{ from = "a", to = "b" }}, {{ from = "b", to = "z", when = "{when}" }}'
    assert codes(chain(fill("{{ input }}"), edges=edges)) == expected


def test_a_condition_may_use_what_only_some_records_have() -> None:
    """That is what conditions are for."""
    file = chain(
        fill("{{ input }}", "x"),
        fill("{{ input }}", "y"),
        edges='{ from = "a", to = "b" }, { from = "b", to = "c" }, { from = "a", to = "c" },'
        ' { from = "c", to = "z", when = "x" }',
    )
    assert codes(file) == []


@pytest.mark.parametrize(
    ("when", "hint"),
    [
        ("len(input) > 3", "conditions call it a filter: `... | length`"),
        ("lower(input) == 'x'", "conditions call it a filter: `... | lower`"),
        ("sesion", "did you mean `session`?"),
    ],
)
def test_frequent_slips_in_conditions_have_a_hint(when: str, hint: str) -> None:
    """Functions of other languages are filters here."""
    (found,) = findings(
        chain(fill("x"), edges=f'{{ from = "a", to = "b", when = "{when}" }}, {{ from = "b", to = "z" }}')
    )
    assert (found.code, found.hint) == ("undefined-in-condition", hint)


@pytest.mark.parametrize("template", ["{input}", "say {input} or {input}"])
def test_single_braces_around_a_field_are_told(template: str) -> None:
    """They stand for themselves, which is hardly meant."""
    (found,) = findings(chain(fill(template)))
    assert (found.code, found.hint) == ("single-braces", "write `{{ input }}`")


@pytest.mark.parametrize("template", ["{{ input }}", "{n}", "{% if input %}{% endif %}", '{ \\"input\\": 1 }'])
def test_other_braces_are_right(template: str) -> None:
    """JSON in a prompt is no slip, nor is a name that is no field."""
    assert codes(chain(fill(template))) == []
