"""What holds for the drawing of any plan, on random graphs."""

import re
from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from dagflow.expressions import Expression
from dagflow.graph.plan import EdgePlan, NodePlan, Plan
from dagflow.graph.render.dot import render_dot
from dagflow.graph.render.json import render_json
from dagflow.graph.render.layout import build_layout, count_crossings
from dagflow.graph.render.mermaid import render_mermaid
from dagflow.graph.render.text import render_text
from dagflow.plugin import NoOptions, Stage

_RAILS = "│─┼├┤╮╭╯╰●"


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A random graph without cycles; nodes without edges may occur, too."""
    names = draw(
        st.lists(st.from_regex(r"[a-z][a-z0-9_-]{0,14}", fullmatch=True), min_size=1, max_size=25, unique=True)
    )
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    chosen = draw(st.lists(st.sampled_from(pairs), max_size=45, unique=True)) if pairs else []
    edges = tuple(draw(_edges(a, b)) for a, b in sorted(chosen, key=lambda pair: names.index(pair[0])))
    targets = {edge.target for edge in edges}
    nodes = {n: NodePlan(n, "stage" if n in targets else "source", "set", Stage, NoOptions()) for n in names}
    return Plan("example", None, nodes, edges)


@st.composite
def _edges(draw: st.DrawFn, source: str, target: str) -> EdgePlan:
    return EdgePlan(
        source,
        target,
        port=draw(st.sampled_from([None, None, "error"])),
        when=draw(st.sampled_from([None, Expression("input | length > 2000 or meta.tier == 'gold'")])),
        best_effort=draw(st.booleans()),
        max_wait_s=draw(st.sampled_from([None, 2.0])),
    )


def _outline(plan: Plan, width: int) -> dict[str, list[tuple[str | None, str]]]:
    """Read a drawing back: each node, in the order drawn, with its edges as (port, target)."""
    outline: dict[str, list[tuple[str | None, str]]] = {}
    for line in render_text(plan, width).splitlines()[3:]:
        words = line.lstrip(_RAILS + " ")
        if edge := re.match(r"(?:(\w+) )?--\[512 block\]--> ([^\s,]+)", words):
            outline[next(reversed(outline))].append((edge[1], edge[2]))
        elif node := re.match(r"(\S+) +(?:source|stage) +set", words):
            assert node[1] not in outline
            outline[node[1]] = []
    return outline


@given(plans(), st.integers(80, 120))
@settings(deadline=None)
def test_text_has_each_node_and_edge_once(plan, width):
    """What stands in the drawing is the plan, no more and no less."""
    assert _outline(plan, width) == {
        name: [(edge.port, edge.target) for edge in plan.edges_from[name]] for name in plan.nodes
    }


@given(plans(), st.integers(60, 120), st.booleans())
@settings(deadline=None)
def test_text_keeps_its_width(plan, width, ascii_only):
    """No line is longer than asked for, and ASCII is ASCII."""
    drawn = render_text(plan, width, ascii_only=ascii_only)
    assert max(map(len, drawn.splitlines())) <= width
    assert drawn.isascii() or not ascii_only


@given(plans())
@settings(deadline=None)
def test_rails_connect(plan):
    """A line that leaves a character downwards or sideways meets one that comes to it."""
    rows = [re.match(f"[{_RAILS} ]*", line)[0] for line in render_text(plan, 120).splitlines()[3:]]
    drawn = [row.ljust(120) for row in rows]
    for upper, lower in pairwise(drawn):
        for above, beneath in zip(upper, lower, strict=True):
            assert not (above in "│┼├┤╮╭" and beneath not in "│┼├┤╯╰●")
            assert not (beneath in "│┼├┤╯╰" and above not in "│┼├┤╮╭●")
    for row in drawn:
        for left, right in pairwise(row):
            assert (left in "─┼├╭╰") == (right in "─┼┤╮╯")


@given(plans())
@settings(deadline=None)
def test_edges_lead_to_later_layers(plan):
    """The layers hold each node once, and reordering never adds crossings."""
    layout = build_layout(plan)
    after = {name: [edge.target for edge in edges] for name, edges in plan.edges_from.items()}
    assert sorted(name for layer in layout.layers for name in layer) == sorted(plan.nodes)
    assert all(layout.places[edge.source] < layout.places[edge.target] for edge in plan.edges)
    as_planned = [sorted(layer, key=list(plan.nodes).index) for layer in layout.layers]
    assert count_crossings(layout.layers, after) <= count_crossings(as_planned, after)


@given(plans())
@settings(deadline=None)
def test_other_formats_have_each_node_and_edge_once(plan):
    """One line each in Mermaid and DOT, one object each in JSON."""
    mermaid, dot, described = render_mermaid(plan), render_dot(plan), msgspec.json.decode(render_json(plan))
    assert len(mermaid.splitlines()) == 1 + len(plan.nodes) + len(plan.edges)
    assert len(dot.splitlines()) == 3 + len(plan.nodes) + len(plan.edges)
    assert [node["name"] for node in described["nodes"]] == list(plan.nodes)
    assert [edge["name"] for edge in described["edges"]] == [edge.name for edge in plan.edges]
