"""SVG: a whole output, labels that try to break out, and what can be read."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from random_plans import CONDITION, chain, plans

from dagflow.expressions import Expression
from dagflow.graph.plan import EdgePlan
from dagflow.graph.render.lettering import node_lines
from dagflow.graph.render.style import build_style
from dagflow.graph.render.svg import render_svg

_SVG = "{http://www.w3.org/2000/svg}"


def _groups(drawn, attribute):
    """The groups that carry an attribute, as (its value, the group)."""
    return [(g.get(attribute), g) for g in ElementTree.fromstring(drawn).iter(f"{_SVG}g") if g.get(attribute)]


@given(plans())
@settings(deadline=None, max_examples=30)
def test_each_node_and_edge_once(plan):
    """The text is XML, is the same every time, and holds one group for each node and each edge."""
    drawn = render_svg(plan)
    assert drawn == render_svg(plan)
    assert [name for name, _ in _groups(drawn, "data-node")] == list(plan.nodes)
    assert [name for name, _ in _groups(drawn, "data-edge")] == [edge.name for edge in plan.edges]


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
    plan = build_plan({f"{name} source generate": {}, "out sink null": {}}, [EdgePlan(name, "out", when=CONDITION)])
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
    drawn = render_svg(chain(3))
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
