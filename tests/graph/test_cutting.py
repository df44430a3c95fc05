"""What one program runs of a plan."""

from __future__ import annotations

import pytest
from toys import chain, plan_of

from dagflow.config.diagnostics import Diagnostic
from dagflow.errors import ConfigError
from dagflow.graph.cutting import carried_edges, cut_plan, inlet_name, outlet_name

BUS = '[transports.bus]\ntype = "carry"\n'
POLISH = 'type = "polish"'


def carried(*names: str) -> str:
    """A file `a -> b -> c -> z`; the edges that begin at these nodes go over a broker."""
    ways = [("a", "b"), ("b", "c"), ("c", "z")]
    return chain(POLISH, POLISH, edges=", ".join(_edge(*way, way[0] in names) for way in ways), more=BUS)


def _edge(start: str, end: str, is_carried: bool) -> str:
    via = ', via = "bus"' if is_carried else ""
    return f'{{ from = "{start}", to = "{end}"{via} }}'


def findings(text: str, *only: str) -> list[Diagnostic]:
    """What is wrong with running a part."""
    with pytest.raises(ConfigError) as caught:
        cut_plan(plan_of(text), only)
    return list(caught.value.diagnostics)


def test_a_part_has_its_nodes_and_the_ends_of_its_edges():
    """What comes from elsewhere comes from an inlet, what goes elsewhere goes into an outlet."""
    plan = plan_of(carried("a", "c"))
    cut = cut_plan(plan, ["b", "c"])
    assert list(cut.nodes) == ["a -> b (in)", "b", "c", "c -> z (out)"]
    assert [edge.name for edge in cut.edges] == ["a -> b (in)", "b -> c", "c -> z (out)"]
    assert [(edge.source, edge.target) for edge in cut.edges] == [
        ("a -> b (in)", "b"),
        ("b", "c"),
        ("c", "c -> z (out)"),
    ]
    assert [node.kind for node in cut.nodes.values()] == ["source", "stage", "stage", "sink"]
    assert not cut.nodes["a -> b (in)"].finite
    assert not carried_edges(cut)


def test_all_nodes_together_still_use_the_broker():
    """Both ends of an edge may be in one program, and are told apart."""
    plan = plan_of(carried("b"))
    cut = cut_plan(plan)
    edge = carried_edges(plan)[0]
    assert {inlet_name(edge), outlet_name(edge)} < set(cut.nodes)
    assert len({one.name for one in cut.edges}) == len(cut.edges) == 4
    assert cut_plan(cut) is cut


def test_a_plan_in_memory_stays_what_it_is():
    """There is nothing to cut."""
    plan = plan_of(chain(POLISH))
    assert cut_plan(plan) is plan


@pytest.mark.parametrize("only", [["a"], ["b", "c"], ["a", "b", "z"]])
def test_what_is_cut_in_memory_is_told(only):
    """Each such edge, with what would run on its other side."""
    crossing = [(a, b) for a, b in ("ab", "bc", "cz") if (a in only) is not (b in only)]
    found = findings(carried(), *only)
    assert [d.code for d in found] == ["cut-in-memory"] * len(crossing)
    assert [d.key[2] for d in found] == [["ab", "bc", "cz"].index(a + b) for a, b in crossing]


def test_workers_that_no_node_uses_are_not_opened():
    """Those of other programs need not even be reachable from here."""
    ask = 'type = "ask"\nworker = "main"'
    fill = 'type = "fill"\ntemplate = "{{ input }}"'
    text = chain(fill, ask, edges=", ".join(_edge(*way, True) for way in ("ab", "bc", "cz")), more=BUS)
    plan = plan_of(text + '\n[workers.main]\ntype = "remote"\n')
    assert list(cut_plan(plan, ["c"]).workers) == ["main"]
    assert not cut_plan(plan, ["a", "b"]).workers
