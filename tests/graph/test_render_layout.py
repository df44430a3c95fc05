"""Layers, the order within them, and the order in which text is read."""

from dagflow.graph.plan import EdgePlan
from dagflow.graph.render.layout import build_layout
from dagflow.graph.render.text import walk


def test_layer_is_the_longest_way(build_plan):
    """A node stands below all that lead to it, however short another way is."""
    plan = build_plan(
        {"s source generate": {}, "a stage set": {}, "b stage set": {}, "k sink null": {}},
        [EdgePlan("s", "a"), EdgePlan("a", "b"), EdgePlan("s", "b"), EdgePlan("b", "k")],
    )
    assert build_layout(plan).layers == (("s",), ("a",), ("b",), ("k",))


def test_order_avoids_crossings(build_plan):
    """Two chains that the plan names crosswise are untangled."""
    plan = build_plan(
        {
            "s source generate": {},
            "t source generate": {},
            "a stage set": {},
            "b stage set": {},
            "x sink null": {},
            "y sink null": {},
        },
        [EdgePlan("s", "b"), EdgePlan("t", "a"), EdgePlan("a", "x"), EdgePlan("b", "y")],
    )
    layout = build_layout(plan)
    assert layout.layers == (("s", "t"), ("b", "a"), ("y", "x"))
    assert layout.places["a"] == (1, 1)


def test_ties_keep_the_order_of_the_plan(build_plan):
    """Branches without a reason to move stand as in the file."""
    plan = build_plan(
        {"s source generate": {}, "c sink null": {}, "a sink null": {}, "b sink null": {}},
        [EdgePlan("s", "c"), EdgePlan("s", "a"), EdgePlan("s", "b")],
    )
    assert build_layout(plan).layers == (("s",), ("c", "a", "b"))


def test_walk_follows_a_branch_to_its_end(build_plan):
    """A merge comes right after the last branch that leads to it."""
    plan = build_plan(
        {
            "s source generate": {},
            "a stage set": {},
            "b stage set": {},
            "a2 stage set": {},
            "b2 stage set": {},
            "k sink null": {},
            "other source generate": {},
            "o sink null": {},
        },
        [
            EdgePlan("s", "a"),
            EdgePlan("s", "b"),
            EdgePlan("a", "a2"),
            EdgePlan("b", "b2"),
            EdgePlan("a2", "k"),
            EdgePlan("b2", "k"),
            EdgePlan("other", "o"),
        ],
    )
    assert [node.name for node in walk(plan)] == ["s", "a", "a2", "b", "b2", "k", "other", "o"]
