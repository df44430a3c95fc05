"""Checks of the graph's form: what is wrong, and what only follows from it."""

from __future__ import annotations

import pytest
from toys import chain, codes, findings

FILL = 'type = "fill"\ntemplate = "x"'
PORT = f'{FILL}\non_error = "port"'
SINK = '[sinks.y]\ntype = "show"\n'


def edges(*pairs: str) -> str:
    """Write edges given as `a -> b`, with further keys behind a comma."""
    return "".join(
        f'  {{ from = "{start}", to = "{end}"{comma}{rest} }},\n'
        for pair in pairs
        for start, _, target in [pair.partition(" -> ")]
        for end, comma, rest in [target.partition(",")]
    )


def graph(*pairs: str, b: str = FILL, c: str = FILL, more: str = "") -> str:
    """Give a file with source `a`, stages `b` and `c`, sink `z`, and these edges."""
    return chain(b, c, edges=edges(*pairs), more=more)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (("a -> b", "b -> c", "c -> z"), []),
        (("a -> b", "a -> c", "b -> z", "c -> z"), []),
        (("a -> b", "b -> c", "c -> b", "c -> z"), ["cycle"]),
        (("a -> b", "b -> b", "b -> c", "c -> z"), ["cycle"]),
        (("b -> c", "c -> b", "a -> z"), ["cycle"]),
        (("a -> b", "b -> z", "c -> z"), ["unreachable-node"]),
        (("a -> b", "b -> z"), ["unreachable-node"]),
        (("a -> b", "b -> z", "b -> c"), ["dead-end"]),
        (("a -> b", "b -> c"), ["dead-end", "unreachable-node"]),
        (("b -> c", "c -> z"), ["dead-end", "unreachable-node"]),
        (("a -> b", "b -> c", "c -> z", "a -> b"), ["duplicate-edge"]),
        (("a -> b", "b -> c", "c -> z", "z -> c"), ["edge-out-of-sink"]),
        (("a -> b", "b -> c", "c -> z", "c -> a"), ["edge-into-source"]),
        (("a -> b", "b -> c", "c -> z.error"), ["edge-into-port"]),
        (("a -> b", "b -> c", "c -> z", "b.large -> z"), ["unknown-port"]),
        (("a -> b", "b -> c", "c -> z", "a.error -> z"), ["unknown-port"]),
        (("a -> b", "b -> c", "c -> z", "b.error -> z"), ["unexpected-error-edge"]),
        (("a -> b", "b -> x", "c -> z"), ["unknown-node"]),
        (("a -> b", "b -> c, best_effort = true", "b -> z", "c -> z"), []),
        (("a -> b", "b -> c, best_effort = true", "c -> z"), ["all-best-effort"]),
        (("a -> b, best_effort = true", "a -> c, best_effort = true", "b -> z", "c -> z"), ["all-best-effort"]),
    ],
)
def test_each_mistake_in_a_graph_is_one_finding(pairs: tuple[str, ...], expected: list[str]) -> None:
    """What follows from a lost edge or a cycle is not told as well."""
    assert sorted(codes(graph(*pairs))) == expected


def test_a_cycle_is_named_with_all_its_edges() -> None:
    """From its first node in the file on, once round."""
    (found,) = findings(graph("a -> b", "c -> b", "b -> c", "c -> z"))
    assert found.message == "stages wait for each other: `b` -> `c` -> `b`"
    assert sorted({found.line, *found.other_lines}) == [4, 5]


def test_two_knots_are_two_cycles() -> None:
    """Each knot is named by one cycle."""
    file = chain(
        FILL, FILL, FILL, FILL, edges=edges("a -> b", "b -> c", "c -> b", "c -> d", "d -> e", "e -> d", "e -> z")
    )
    assert [d.message for d in findings(file)] == [
        "stages wait for each other: `b` -> `c` -> `b`",
        "stages wait for each other: `d` -> `e` -> `d`",
    ]


def test_a_cycle_through_a_sink_is_a_cycle() -> None:
    """Its error port can lead back."""
    file = graph("a -> b", "b -> c", "c -> z", "z.error -> c", more='on_error = "port"\n')
    assert [d.message for d in findings(file)] == ["nodes wait for each other: `c` -> `z` -> `c`"]


def test_error_ports_of_stages_and_sinks_lead_on() -> None:
    """To a stage that handles the error, or to a sink."""
    file = graph(
        "a -> b", "b -> z", "b.error -> c", "c -> z", "z.error -> y", b=PORT, more=f'on_error = "port"\n{SINK}'
    )
    assert codes(file) == []


def test_an_error_port_is_no_way_out() -> None:
    """A stage whose only edges handle errors loses what it did well."""
    (found,) = findings(graph("a -> b", "b.error -> c", "c -> z", b=PORT))
    assert found.code == "dead-end"
    assert "only by its error port" in found.message


def test_an_error_port_that_is_asked_for_needs_an_edge() -> None:
    """And the finding points to the key that asks."""
    (found,) = findings(graph("a -> b", "b -> c", "c -> z", b=PORT))
    assert (found.code, found.line) == ("missing-error-edge", 13)


def test_all_best_effort_counts_each_port() -> None:
    """What leaves by a port has only the edges of that port."""
    route = 'type = "route"\nlarge = "x"'
    pairs = ("a -> b", "b -> c", "b.large -> z, best_effort = true", "b.small -> z", "c -> z")
    assert "all-best-effort" in codes(graph(*pairs, b=route))


def test_declared_ports_count_as_ways_out() -> None:
    """A node may leave by its ports alone."""
    route = 'type = "route"\nlarge = "input"'
    assert codes(graph("a -> b", "b.large -> c", "b.small -> z", "c -> z", b=route)) == []


def test_a_source_has_the_ports_that_it_declares() -> None:
    """And no error port."""
    ticks = 'type = "ticks"'
    good = chain(FILL, source=ticks, edges=edges("a.odd -> b", "a.even -> b", "a -> b", "b -> z"))
    assert codes(good) == []
    (found,) = findings(good.replace("a.odd", "a.od"))
    assert found.message == "source `a` has no port `od`, only `even`, `odd`"


def test_ports_of_a_node_that_could_not_be_built_are_not_checked() -> None:
    """One mistake, one finding."""
    assert codes(graph("a -> b", "b.any -> c", "c -> z", b='type = "rout"')) == ["unknown-type"]


def test_a_worker_is_no_node() -> None:
    """The hint says how workers are named."""
    file = graph("a -> b", "b -> c", "c -> w", c='type = "ask"\nworker = "w"', more='[workers.w]\ntype = "remote"\n')
    (found,) = [d for d in findings(file) if d.code == "unknown-node"]
    assert found.hint == "it is a worker: a stage names it in its options, and no edge leads there"


def test_a_name_that_is_near_no_node_is_answered_with_the_possible_ones() -> None:
    """An edge cannot go to a source, nor come from a sink."""
    file = chain(FILL, edges=edges("a -> b", "b -> nowhere", "nobody -> z"))
    assert [d.hint for d in findings(file) if d.code == "unknown-node"] == [
        "there are `b`, `z`",
        "there are `a`, `b`",
    ]


@pytest.mark.parametrize(
    ("written", "right"),
    [
        ('"a -> b"', '{ from = "a", to = "b" }'),
        ('["a", "b"]', '{ from = "a", to = "b" }'),
        ("3", '{ from = "a", to = "b" }'),
    ],
)
def test_an_edge_in_another_form_is_shown_in_the_right_one(written: str, right: str) -> None:
    """Where it can be read, with its own names."""
    file = chain(FILL, edges=f'{written}, {{ from = "b", to = "z" }}')
    (found,) = findings(file)
    assert (found.code, found.hint) == ("wrong-type", f"write `{right}`")


@pytest.mark.parametrize(
    ("own", "defaults", "key"),
    [
        ('when_full = "drop_oldest", block_timeout = "1s"', "", ("pipeline", "edges", 0, "block_timeout")),
        ('block_timeout = "1s"', 'when_full = "drop_oldest"', ("pipeline", "edges", 0, "block_timeout")),
        ("capacity = 3", 'when_full = "drop_oldest"\nblock_timeout = "1s"', ("defaults", "edge", "block_timeout")),
    ],
)
def test_a_block_timeout_needs_an_edge_that_blocks(own: str, defaults: str, key: tuple[str | int, ...]) -> None:
    """Told where it is written."""
    file = chain(FILL, edges=edges(f"a -> b, {own}", "b -> z"), more=f"[defaults.edge]\n{defaults}\n")
    assert [(d.code, d.key) for d in findings(file)] == [("block-timeout-without-block", key)]


def test_an_inherited_block_timeout_is_for_edges_that_block() -> None:
    """An edge that drops need not take it back."""
    file = chain(FILL, edges=edges('a -> b, when_full = "drop_oldest"', "b -> z"))
    assert codes(file + '[defaults.edge]\nblock_timeout = "1s"\n') == []


def test_a_transport_is_told_at_each_edge() -> None:
    """Since each has to be changed."""
    file = graph('a -> b, via = "nats"', 'b -> c, via = "nats"', "c -> z")
    assert codes(file) == ["unknown-transport", "unknown-transport"]
