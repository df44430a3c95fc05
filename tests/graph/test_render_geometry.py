"""The geometry of a picture: what holds for any plan, and what makes it good to look at."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from random_plans import chain, plans

from dagflow.graph.plan import EdgePlan
from dagflow.graph.render.geometry import build_geometry
from dagflow.graph.render.lanes import find_lanes, spread
from dagflow.graph.render.lettering import edge_lines, measure, node_lines
from dagflow.graph.render.positions import place_across
from dagflow.graph.render.ranks import build_ranks


def _laid_out(plan):
    nodes = {name: measure(node_lines(node), (16, 9)) for name, node in plan.nodes.items()}
    return build_geometry(plan, nodes, [measure(edge_lines(edge), (6, 2)) for edge in plan.edges])


def _sampled(route, downward):
    """Points along the way of an edge; a curve has its handles halfway between its ends, along the flow."""
    points = []
    for run, following in pairwise([*route.runs, None]):
        points += [_between(*run, t) for t in _steps(*run)]
        if following:
            points += [_on_curve(run[1], following[0], t, downward) for t in _steps(run[1], following[0])]
    return points


def _steps(start, end):
    """Fractions of the way between two points, four pixels or less from each other."""
    number = max(2, int((abs(end[0] - start[0]) + abs(end[1] - start[1])) / 4))
    return [i / number for i in range(number + 1)]


def _between(start, end, t):
    return start[0] + (end[0] - start[0]) * t, start[1] + (end[1] - start[1]) * t


def _on_curve(start, end, t, downward):
    along = 1 if downward else 0
    half = (start[along] + end[along]) / 2
    x = [0.0, 0.0]
    x[along] = (1 - t) ** 3 * start[along] + 3 * t * (1 - t) * half + t**3 * end[along]
    x[1 - along] = start[1 - along] + (3 * t**2 - 2 * t**3) * (end[1 - along] - start[1 - along])
    return x


def _is_inside(point, box):
    return box.x + 0.1 < point[0] < box.x + box.width - 0.1 and box.y + 0.1 < point[1] < box.y + box.height - 0.1


@given(plans())
@settings(deadline=None, max_examples=30)
def test_boxes_lie_apart(plan):
    """Nodes and labels keep a distance from each other, and lie within the picture."""
    geometry = _laid_out(plan)
    boxes = [*geometry.nodes.values(), *(route.label for route in geometry.routes)]
    for box in boxes:
        assert 0 < box.x < box.x + box.width < geometry.size[0]
        assert 0 < box.y < box.y + box.height < geometry.size[1]
    for a, b in combinations(boxes, 2):
        beside = max(a.x, b.x) - min(a.x + a.width, b.x + b.width)
        under = max(a.y, b.y) - min(a.y + a.height, b.y + b.height)
        assert max(beside, under) > 10


@given(plans())
@settings(deadline=None, max_examples=30)
def test_lines_enter_no_box_but_their_own(plan):
    """An edge runs from its source to its target through its own label, around everything else."""
    geometry = _laid_out(plan)
    for edge, route in zip(plan.edges, geometry.routes, strict=True):
        points = _sampled(route, geometry.downward)
        others = [*geometry.nodes.values(), *(r.label for r in geometry.routes if r is not route)]
        assert not [box for box in others for point in points if _is_inside(point, box)]
        along = 1 if geometry.downward else 0
        start, end = geometry.nodes[edge.source], geometry.nodes[edge.target]
        assert points[0][along] == pytest.approx((start.x + start.width, start.y + start.height)[along])
        assert points[-1][along] == pytest.approx((end.x, end.y)[along])
        assert any(_is_inside(point, route.label) for point in points)


@given(plans())
@settings(deadline=None, max_examples=30)
def test_arrows_lie_apart(plan):
    """Lines that end at one node end at different places of its side."""
    geometry = _laid_out(plan)
    across = 0 if geometry.downward else 1
    for name in plan.nodes:
        ends = [r.runs[-1][1][across] for e, r in zip(plan.edges, geometry.routes, strict=True) if e.target == name]
        assert all(b - a > 8 for a, b in pairwise(sorted(ends)))


@given(plans())
@settings(deadline=None, max_examples=30)
def test_lines_at_a_node_do_not_cross(plan):
    """Lines leave and enter a node in the order in which they come and go."""
    ranks = build_ranks(plan)
    across = place_across(ranks, lambda one, other: 30)
    lanes = find_lanes(ranks, across, dict.fromkeys(plan.nodes, 400))
    for end, beside in ((0, 1), (-1, -2)):
        for name in plan.nodes:
            own = [lane for chain, lane in zip(ranks.chains, lanes, strict=True) if chain[end] == name]
            assert sorted(own, key=lambda lane: lane[end]) == sorted(own, key=lambda lane: lane[beside])


@given(plans())
@settings(deadline=None, max_examples=30)
def test_long_lines_are_straight(plan):
    """Between its ends a line bends only where another long line crosses it."""
    ranks = build_ranks(plan)
    across = place_across(ranks, lambda one, other: 30)
    steps = [step for chain in ranks.chains for step in pairwise(chain[1:-1])]
    for a, b in steps:
        beside = [(c, d) for c, d in steps if c.rank == a.rank]
        if all((across[a] - across[c]) * (across[b] - across[d]) >= 0 for c, d in beside):
            assert across[a] == pytest.approx(across[b])


def test_source_stands_near_what_it_feeds(build_plan):
    """A source that comes in late stands late, and its edge is short."""
    plan = build_plan(
        {"s source generate": {}, "a stage set": {}, "b stage set": {}, "late source generate": {}, "k sink null": {}},
        [EdgePlan("s", "a"), EdgePlan("a", "b"), EdgePlan("b", "k"), EdgePlan("late", "k")],
    )
    assert [[item for item in layer if item in plan.nodes] for layer in build_ranks(plan).layers[::2]] == [
        ["s"],
        ["a"],
        ["b", "late"],
        ["k"],
    ]


def test_chain_is_straight():
    """A chain is one straight line, downwards, since it would be too wide."""
    geometry = _laid_out(chain(20))
    assert geometry.downward
    assert [len(route.runs) for route in geometry.routes] == [1] * 19
    assert len({run[0][0] for route in geometry.routes for run in route.runs}) == 1


def test_chain_stays_straight_beside_a_long_edge(build_plan):
    """An edge that skips nodes runs beside them and does not push them aside."""
    plan = build_plan(
        {"s source generate": {}, "a stage set": {}, "b stage set": {}, "k sink null": {}},
        [EdgePlan("s", "a"), EdgePlan("a", "b"), EdgePlan("b", "k"), EdgePlan("s", "k")],
    )
    *chain, skip = _laid_out(plan).routes
    lanes = [[run[0][0] for run in route.runs] for route in chain]
    assert lanes == [[lanes[0][0]]] * 3
    assert skip.runs[0][1][0] > lanes[0][0]


def test_wide_graphs_flow_to_the_right(build_plan):
    """What is wide and shallow is drawn to the right, where it can be shown larger."""
    many = [f"k{i}" for i in range(40)]
    plan = build_plan(
        {"s source generate": {}} | {f"{name} sink null": {} for name in many}, [EdgePlan("s", name) for name in many]
    )
    geometry = _laid_out(plan)
    assert not geometry.downward
    leaving = [route.runs[0][0][1] for route in geometry.routes]
    assert min(b - a for a, b in pairwise(leaving)) > 8, "the source has grown with its edges"


@pytest.mark.parametrize(
    ("wanted", "placed"),
    [
        ([5], [5]),
        ([-90, 90], [-40, 40]),
        ([-90, 0, 90], [-40, 0, 40]),
        ([0, 0], [-7, 7]),
        ([90, 90, 90], [12, 26, 40]),
        ([0] * 9, [-40, -30, -20, -10, 0, 10, 20, 30, 40]),
    ],
)
def test_lines_are_spread_over_a_side(wanted, placed):
    """Each line ends near where it comes from, and apart from the others."""
    assert spread(wanted, -40, 40) == pytest.approx(placed)
