"""Which tables a file may have, and what follows from a slip in one."""

import pytest
from toys import chain, codes, findings

FILE = chain('type = "fill"\ntemplate = "{{ input }}"')


@pytest.mark.parametrize(
    ("right", "wrong", "code"),
    [
        ("[stages.b]", "[stage.b]", "unknown-table"),
        ("[sources.a]", "[source.a]", "unknown-table"),
        ("[sinks.z]", "[sink.z]", "unknown-table"),
        ("[stages.b]", '[[stages]]\nname = "b"', "wrong-type"),
        ("[sources.a]", "[sources]", "wrong-type"),
        ("[stages.b]", "[stages.B]", "bad-name"),
        ("[pipeline]\nedges", "edges", "unknown-table"),
    ],
)
def test_one_slip_in_a_header_is_one_finding(right: str, wrong: str, code: str) -> None:
    """Edges that name the node, and tables that seem missing, are no further mistakes."""
    assert codes(FILE.replace(right, wrong)) == [code]


def test_a_worker_in_a_misspelt_table_is_not_missing() -> None:
    """The option that names it is right."""
    file = chain('type = "fill"\ntemplate = "x"', 'type = "ask"\nworker = "w"', more='[worker.w]\ntype = "remote"')
    assert codes(file) == ["unknown-table"]


@pytest.mark.parametrize(
    ("text", "code", "hint"),
    [
        (
            "[[edges]]\nfrom = 'a'",
            "unknown-table",
            'edges stand in one array: `[pipeline]`, `edges = [{ from = "a", to = "b" }]`',
        ),
        ("[worker.x]", "unknown-table", "did you mean `workers`?"),
        ("[database]", "unknown-table", None),
        ("max_in_flight = 3", "unknown-key", "`max_in_flight` belongs to `[pipeline]`"),
        ("colour = 3", "unknown-key", None),
        ("logging = 'debug'", "wrong-type", "write `[logging]`"),
        ("workers = 3", "wrong-type", "write `[workers.NAME]`"),
    ],
)
def test_what_is_no_table_of_the_language_is_told(text: str, code: str, hint: str | None) -> None:
    """With the right place for it, where there is one."""
    added = f"{text}\n{FILE}" if "[" not in text else f"{FILE}\n{text}\n"
    assert [(d.code, d.hint) for d in findings(added)] == [(code, hint)]


@pytest.mark.parametrize("name", ["b", "b2", "b-2_x"])
def test_good_names(name: str) -> None:
    """Lower-case letters, digits, `-` and `_`, a letter first."""
    assert codes(FILE.replace("stages.b", f"stages.{name}").replace('"b"', f'"{name}"')) == []


@pytest.mark.parametrize(("name", "better"), [("2b", "n-2b"), ("My Stage", "my-stage"), ("b.c", "b-c"), ("_b", "b")])
def test_bad_names(name: str, better: str) -> None:
    """Each comes with one that would do."""
    (found,) = findings(FILE.replace("stages.b", f'stages."{name}"').replace('"b"', f'"{better}"'))
    assert (found.code, found.hint) == ("bad-name", f"`{better}` would do")


def test_sources_stages_and_sinks_share_their_names() -> None:
    """Workers have names of their own."""
    ask = 'type = "ask"\nworker = "b"'
    file = chain('type = "fill"\ntemplate = "x"', ask, more='[workers.b]\ntype = "remote"\n')
    assert codes(file) == []
    assert codes(file + '[sinks.b]\ntype = "show"') == ["duplicate-name"]
