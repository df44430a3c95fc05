"""Edges that spill, as they are checked."""

from __future__ import annotations

import pytest
from toys import chain, findings, plan_of

FILL = 'type = "fill"\ntemplate = "x"'
HERE = 'when_full = "spill", spill = { path = "s" }'


def file(own: str = HERE, b: str = FILL, more: str = "") -> str:
    """Give a file whose first edge has these keys."""
    edges = f'{{ from = "a", to = "b", {own} }}, {{ from = "b", to = "z" }}'
    return chain(b, edges=edges, more=more)


@pytest.mark.parametrize(
    ("keys", "stage", "code", "key"),
    [
        (HERE, FILL, None, None),
        (f'{HERE}, order = "priority"', FILL, "spill-conflict", "order"),
        (f'{HERE}, max_bytes = "1MiB"', FILL, "spill-conflict", "max_bytes"),
        (HERE, f'{FILL}\nconcurrency = 2\naffinity = "session"', "spill-conflict", "when_full"),
        ('when_full = "spill"', FILL, "spill-nowhere", "when_full"),
        ('spill = { path = "s" }', FILL, "spill-without-spilling", "spill"),
    ],
)
def test_what_an_edge_that_spills_may_have(keys, stage, code, key):
    """Told where it is written."""
    found = [(d.code, d.key) for d in findings(file(keys, stage)) if d.severity == "error"]
    assert found == ([] if code is None else [(code, ("pipeline", "edges", 0, key))])


def test_a_default_place():
    """It is for the edges that spill; the others have none."""
    default = '[defaults.edge]\nspill = { path = "s", max_bytes = "1MiB" }\n'
    first, second = plan_of(file('when_full = "spill"', more=default)).edges
    assert (first.spill.path.name, first.spill.max_bytes) == ("s", 1 << 20)
    assert second.spill is None


def test_all_edges_spill_by_default():
    """One that is to block says so; a default without a place is told once."""
    default = '[defaults.edge]\nwhen_full = "spill"\nspill = { path = "s" }\n'
    first, second = plan_of(file('when_full = "block"', more=default)).edges
    assert first.spill is None
    assert second.spill is not None
    found = findings(file("capacity = 3", more=default.replace('spill = { path = "s" }', "")))
    assert [(d.code, d.key) for d in found] == [("spill-nowhere", ("defaults", "edge", "when_full"))]
