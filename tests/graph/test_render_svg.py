"""SVG: a whole output, labels that try to break out, and what holds for the drawing of any plan."""

import re
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagflow.expressions import Expression
from dagflow.graph.plan import EdgePlan, NodePlan, Plan
from dagflow.graph.render.geometry import build_geometry
from dagflow.graph.render.lanes import spread
from dagflow.graph.render.lettering import edge_lines, measure, node_lines
from dagflow.graph.render.style import build_style
from dagflow.graph.render.svg import render_svg
from dagflow.plugin import NoOptions, Stage

_SVG = "{http://www.w3.org/2000/svg}"
_CONDITION = Expression("input | length > 2000 or meta.tier == 'gold' or meta.tier == 'silver' or n > 3")


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A random graph of up to 40 nodes, with ports, conditions, and nodes without edges."""
    names = [f"{letter * draw(st.integers(1, 9))}{i}" for i, letter in enumerate(draw(st.text("mi", min_size=1)))][:40]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 : i + 12]]
    chosen = draw(st.lists(st.sampled_from(pairs), max_size=60, unique=True)) if pairs else []
    edges = [draw(_edges(a, b)) for a, b in chosen]
    targets, sources = {edge.target for edge in edges}, {edge.source for edge in edges}
    kinds = {n: "source" if n not in targets else "stage" if n in sources else "sink" for n in names}
    return Plan("example", None, {n: NodePlan(n, kinds[n], "set", Stage, NoOptions()) for n in names}, (*edges,))


@st.composite
def _edges(draw: st.DrawFn, source: str, target: str) -> EdgePlan:
    return EdgePlan(
        source,
        target,
        port=draw(st.sampled_from([None, None, "error"])),
        when=draw(st.sampled_from([None, None, _CONDITION])),
        best_effort=draw(st.booleans()),
    )


def _laid_out(plan):
    nodes = {name: measure(node_lines(node), (16, 9)) for name, node in plan.nodes.items()}
    return build_geometry(plan, nodes, [measure(edge_lines(edge), (6, 2)) for edge in plan.edges])


def _groups(drawn, attribute):
    """The groups that carry an attribute, as (its value, the group)."""
    return [(g.get(attribute), g) for g in ElementTree.fromstring(drawn).iter(f"{_SVG}g") if g.get(attribute)]


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
@settings(deadline=None, max_examples=60)
def test_each_node_and_edge_once(plan):
    """The text is XML, is the same every time, and holds one group for each node and each edge."""
    drawn = render_svg(plan)
    assert drawn == render_svg(plan)
    assert [name for name, _ in _groups(drawn, "data-node")] == list(plan.nodes)
    assert [name for name, _ in _groups(drawn, "data-edge")] == [edge.name for edge in plan.edges]


@given(plans())
@settings(deadline=None, max_examples=60)
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
@settings(deadline=None, max_examples=60)
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
@settings(deadline=None, max_examples=60)
def test_arrows_lie_apart(plan):
    """Lines that end at one node end at different places of its side."""
    geometry = _laid_out(plan)
    across = 0 if geometry.downward else 1
    for name in plan.nodes:
        ends = [r.runs[-1][1][across] for e, r in zip(plan.edges, geometry.routes, strict=True) if e.target == name]
        assert all(b - a > 8 for a, b in pairwise(sorted(ends)))


def _chain(length):
    names = [f"n{i}" for i in range(length)]
    return Plan(
        "chain",
        None,
        {name: NodePlan(name, "stage", "set", Stage, NoOptions()) for name in names},
        tuple(EdgePlan(a, b) for a, b in pairwise(names)),
    )


def test_chain_is_straight():
    """A chain is one straight line, downwards, since it would be too wide."""
    geometry = _laid_out(_chain(20))
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
    assert not _laid_out(plan).downward


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


def test_nothing_breaks_out(build_plan):
    """Text of the user's is text: no tag, no attribute, no character that XML cannot hold."""
    condition = "input != \"<b>&]]>'\" or n == '\x01'"
    plan = build_plan(
        {'in source a"><script/>': {}, "out sink stdout": {}},
        [EdgePlan("in", "out", when=Expression(condition))],
        name="</title><script>",
    )
    root = ElementTree.fromstring(render_svg(plan))
    assert not list(root.iter(f"{_SVG}script"))
    assert root.findtext(f"{_SVG}title") == "</title><script>"
    title = _groups(render_svg(plan), "data-edge")[0][1].findtext(f"{_SVG}title")
    assert title == f"in -> out: 512 block, when {condition}".replace("\x01", "\ufffd")


def test_long_text_is_whole_in_titles(build_plan):
    """What has no room in the picture can be read by pointing at it."""
    name = "a-name-that-is-much-longer-than-a-box-should-be"
    plan = build_plan({f"{name} source generate": {}, "out sink null": {}}, [EdgePlan(name, "out", when=_CONDITION)])
    drawn = render_svg(plan)
    texts = [text.text for text in ElementTree.fromstring(drawn).iter(f"{_SVG}text")]
    assert texts[3:] == ["a-name-that-is-much-longe…", "source generate", "out", "sink null", "concurrency 1"]
    assert texts[:3] == ["512 block", "when input | length > 2000", "or meta.tier == 'gold' …"]
    assert f"<title>{name}: source generate</title>" in drawn
    assert "meta.tier == &#x27;silver&#x27; or n &gt; 3</title>" in drawn


def test_wide_characters_get_their_room(build_plan):
    """A character of double width counts twice, an accent that combines not at all."""
    plan = build_plan({"a source generate": {}, "b source 生成": {}, "c source ge\u0301ne\u0301": {}}, [])
    widths = {name: node_lines(node)[1].width for name, node in plan.nodes.items()}
    cell = widths["a"] / len("source generate")
    assert widths == pytest.approx({"a": 15 * cell, "b": 11 * cell, "c": 11 * cell})


def test_needs_nothing_else():
    """No script, no address but the name of the format, nothing to fetch."""
    drawn = render_svg(_chain(3))
    assert re.findall(r"\w+://\S+?(?=\")", drawn) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"<script|<image|<use|@import|url\(|href", drawn)


def _contrast(one, other):
    """Contrast of two colours, after WCAG 2."""

    def light(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, bright = sorted((light(one), light(other)))
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("part", [0, 1], ids=["light", "dark"])
def test_can_be_read(part):
    """Text has the contrast to what it stands on that WCAG asks for (4.5), lines and outlines theirs (3)."""
    rules = build_style().split("@media (prefers-color-scheme: dark)")[part]
    colours = {
        selector.strip().split(".")[-1].replace(" ", ""): dict(re.findall(r"(fill|stroke): (#\w{6})", body))
        for selectors, body in re.findall(r"(\.dagflow [^{]*)\{([^}]*)\}", rules)
        for selector in selectors.split(",")
        if ".error" not in selector and ".box" not in selector
    }
    boxes = re.findall(r"\.box { fill: (#\w+); stroke: (#\w+)", rules)
    papers = [colours["paper"]["fill"], colours["label"]["fill"], *(fill for fill, _ in boxes)]
    assert len(papers) == 5
    assert min(_contrast(colours[role]["fill"], paper) for role in ("name", "detail", "term") for paper in papers) > 4.5
    error = re.search(r"\.error \.line { stroke: (#\w+)", rules)[1]
    assert _contrast(error, papers[0]) > 4.5
    lines = [colours["line"]["stroke"], *(stroke for _, stroke in boxes)]
    assert min(_contrast(line, papers[0]) for line in lines) > 3


def test_whole_output(build_plan):
    """A small picture, line by line, without its style sheet."""
    plan = build_plan(
        {"in source jsonl": {}, "mid stage set": {"concurrency": 4, "timeout_s": 2.0}, "out sink stdout": {}},
        [EdgePlan("in", "mid"), EdgePlan("mid", "out", port="error", best_effort=True, when_full="drop_oldest")],
    )
    drawn = render_svg(plan)
    assert f"<style>\n{build_style()}</style>" in drawn
    assert drawn.replace(build_style(), "") == WHOLE


WHOLE = """\
<svg xmlns="http://www.w3.org/2000/svg" class="dagflow" role="img" width="159.2" height="384.3" viewBox="0 0 159.2 384.3">
<title>example</title>
<desc>1 source, 1 stage, 1 sink, 2 edges; max_in_flight 4096, drain_timeout 30s</desc>
<style>
</style>
<rect class="paper" width="159.2" height="384.3"/>
<g class="edge" data-edge="in -&gt; mid">
<title>in -&gt; mid: 512 block</title>
<path class="line" d="M79.6,70.6 L79.6,128.6"/>
<path class="arrow" d="M79.6,137.6 L75.6,128.6 L83.6,128.6 Z"/>
<rect class="label" x="43.4" y="94.6" width="72.4" height="19" rx="4"/>
<text class="bound" x="79.6" y="108" font-size="11">512 block</text>
</g>
<g class="edge error best-effort" data-edge="mid.error -&gt; out">
<title>mid.error -&gt; out: 512 drop_oldest, best effort</title>
<path class="line" d="M79.6,203.2 L79.6,289.7"/>
<path class="arrow" d="M79.6,298.7 L75.6,289.7 L83.6,289.7 Z"/>
<rect class="label" x="23.3" y="227.2" width="112.7" height="47.5" rx="4"/>
<text class="port" x="79.6" y="240.5" font-size="11">error</text>
<text class="bound" x="79.6" y="255.5" font-size="11">512 drop_oldest</text>
<text class="term" x="79.6" y="269.4" font-size="10">best effort</text>
</g>
<g class="node source" data-node="in">
<title>in: source jsonl</title>
<rect class="box" x="23.4" y="20" width="112.5" height="50.6" rx="20"/>
<text class="name" x="79.6" y="42.4" font-size="13">in</text>
<text class="detail" x="79.6" y="58" font-size="11">source jsonl</text>
</g>
<g class="node stage" data-node="mid">
<title>mid: stage set, concurrency 4, timeout 2s</title>
<rect class="box" x="20" y="137.6" width="119.2" height="65.6" rx="3"/>
<text class="name" x="79.6" y="160" font-size="13">mid</text>
<text class="detail" x="79.6" y="175.6" font-size="11">stage set</text>
<text class="detail" x="79.6" y="190.6" font-size="11">concurrency 4</text>
</g>
<g class="node sink" data-node="out">
<title>out: sink stdout, concurrency 1</title>
<path class="box" d="M32,298.7 L127.2,298.7 L139.2,310.7 L139.2,352.3 L127.2,364.3 L32,364.3 L20,352.3 L20,310.7 Z"/>
<text class="name" x="79.6" y="321.1" font-size="13">out</text>
<text class="detail" x="79.6" y="336.7" font-size="11">sink stdout</text>
<text class="detail" x="79.6" y="351.7" font-size="11">concurrency 1</text>
</g>
</svg>
"""  # noqa: E501
