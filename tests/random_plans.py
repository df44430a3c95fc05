"""Random plans, and the chain, for tests of drawings."""

from itertools import pairwise

from hypothesis import strategies as st

from dagflow.expressions import Expression
from dagflow.graph.plan import EdgePlan, NodePlan, Plan
from dagflow.plugin import NoOptions, Stage

CONDITION = Expression("input | length > 2000 or meta.tier == 'gold' or meta.tier == 'silver' or n > 3")


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A random graph of up to 40 nodes, with ports, conditions, and nodes without edges."""
    number = draw(st.integers(1, 40))
    names = [f"{'n' * draw(st.integers(1, 9))}{i}" for i in range(number)]
    steps = [draw(st.lists(st.integers(1, 9), max_size=3, unique=True)) for _ in names]
    pairs = [(names[i - step], name) for i, name in enumerate(names) for step in steps[i] if step <= i]
    edges = [draw(_edges(a, b)) for a, b in pairs]
    targets, sources = {edge.target for edge in edges}, {edge.source for edge in edges}
    kinds = {n: "source" if n not in targets else "stage" if n in sources else "sink" for n in names}
    return Plan("example", None, {n: NodePlan(n, kinds[n], "set", Stage, NoOptions()) for n in names}, (*edges,))


@st.composite
def _edges(draw: st.DrawFn, source: str, target: str) -> EdgePlan:
    return EdgePlan(
        source,
        target,
        port=draw(st.sampled_from([None, None, "error"])),
        when=draw(st.sampled_from([None, None, CONDITION])),
        best_effort=draw(st.booleans()),
    )


def chain(length: int) -> Plan:
    """A chain of so many stages."""
    names = [f"n{i}" for i in range(length)]
    return Plan(
        "chain",
        None,
        {name: NodePlan(name, "stage", "set", Stage, NoOptions()) for name in names},
        tuple(EdgePlan(a, b) for a, b in pairwise(names)),
    )
