"""Joins, lanes and orders: what does not go together, and what is sure to go wrong."""

from __future__ import annotations

import pytest
from toys import chain, codes, findings, plan_of

FILL = 'type = "fill"\ntemplate = "{{ input }}"'
POLISH = 'type = "polish"'
ROUTE = 'type = "route"'
JOIN = f'{ROUTE}\njoin = "all"'
FORK = ("a -> b", "a -> c", "b -> d", "c -> d", "d -> z")


def edges(*pairs: str) -> str:
    """Write edges given as `a -> b`, with further keys behind a comma."""
    return "".join(
        f'  {{ from = "{start}", to = "{end}"{comma}{rest} }},\n'
        for pair in pairs
        for start, _, target in [pair.partition(" -> ")]
        for end, comma, rest in [target.partition(",")]
    )


def diamond(*pairs: str, b: str = FILL, c: str = POLISH, d: str = JOIN, more: str = "", source: str = "") -> str:
    """Give a file with source `a`, stages `b`, `c` and `d`, sink `z`, and these edges."""
    source = f'type = "lines"\npath = "in"\n{source}'
    return chain(b, c, d, source=source, edges=edges(*(pairs or FORK)), more=more)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        ({"d": f"{JOIN}\non_missing = 'partial'\njoin_timeout = '5s'"}, []),
        ({"d": f'{ROUTE}\njoin = "any"\non_missing = "fail"'}, ["join-key-without-join"]),
        ({"d": f'{ROUTE}\njoin = "any"\njoin_timeout = "5s"'}, ["join-key-without-join"]),
        ({"d": f'{ROUTE}\non_missing = "fail"'}, ["join-key-without-join"]),
        ({"d": f'{JOIN}\njoin_timeout = "1min"'}, ["timeout-exceeds-drain"]),
        ({"d": f'{JOIN}\naffinity = "session"\nconcurrency = 2'}, ["affinity-with-join"]),
        ({"b": f'{FILL}\ntimeout = "20s"\nretry = {{ attempts = 2 }}'}, ["join-can-starve"]),
        ({"b": f'{FILL}\ntimeout = "20s"'}, []),
        ({"source": 'fan_out = "first"'}, ["join-can-starve", "unreachable-edge"]),
        ({"b": POLISH}, ["joined-twice"]),
        ({"b": POLISH, "d": f'{ROUTE}\njoin = "any"'}, []),
        (
            {"d": f'{ROUTE}\nconcurrency = 2\naffinity = "session"', "b": f"{FILL}\nconcurrency = 2"},
            ["session-order-lost"],
        ),
        ({"d": f'{ROUTE}\nconcurrency = 2\naffinity = "session"'}, []),
        ({"d": f'{ROUTE}\naffinity = "session"'}, ["idle-affinity"]),
        ({"b": f'{FILL}\non_error = "dead_letter"'}, ["idle-on-error"]),
        ({"b": f'{FILL}\non_error = "dead_letter"', "more": '[dead_letters]\npath = "x.db"\n'}, []),
    ],
)
def test_each_mistake_around_a_diamond_is_one_finding(changed: dict[str, str], expected: list[str]) -> None:
    """Two branches of a source, `b` and `c`, that come together in `d`."""
    assert sorted(codes(diamond(**changed))) == expected


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (("a -> b", "b -> c", "c -> d", "d -> z"), ["join-of-one"]),
        (("a -> b, when_full = 'drop_newest', capacity = 9", "a -> c", *FORK[2:]), ["join-can-starve"]),
        (("a -> b, block_timeout = '1s', capacity = 9", "a -> c", *FORK[2:]), ["join-can-starve"]),
        (("a -> b, max_wait = '1s'", "a -> c", *FORK[2:]), ["join-can-starve"]),
        ((*FORK[:4], "d -> z, max_wait = '1s'"), []),
        (("a -> b, when = 'input'", "a -> c", *FORK[2:]), []),
        (("a -> b", "a -> c, best_effort = true", *FORK[2:]), ["join-best-effort"]),
        (("a -> z", "a -> b, best_effort = true", "b -> c", "b -> d", "c -> d", "d -> z"), []),
        ((*FORK[:4], "d -> z, order = 'priority', ageing = '1s'"), []),
        ((*FORK[:4], "d -> z, ageing = '1s'"), ["ageing-without-priority"]),
        ((*FORK[:4], "d -> z, order = 'deadline', ageing = '1s'"), ["ageing-without-priority"]),
        ((*FORK[:4], "d -> z, order = 'deadline', capacity = 1"), ["idle-order"]),
        (("a -> b", "a -> c, via = 'wire'", *FORK[2:]), ["join-across-transport"]),
        ((*FORK[:4], "d -> z, via = 'wire'"), []),
        ((*FORK[:4], "d -> z, max_wait = '1s', dead_letter = true"), ["dead-letter-without-store"]),
    ],
)
def test_each_mistake_in_edges_is_one_finding(pairs: tuple[str, ...], expected: list[str]) -> None:
    """The edges around the same nodes."""
    assert sorted(codes(diamond(*pairs))) == expected


OTHER = '[sources.y]\ntype = "lines"\npath = "in"\n'


def test_two_sources_meet_nowhere() -> None:
    """Their records have nothing to do with each other."""
    text = chain(JOIN, edges=edges("a -> b", "y -> b", "b -> z"), more=OTHER)
    assert codes(text) == ["join-can-starve"]


@pytest.mark.parametrize(("stage", "expected"), [(ROUTE, ["join-can-starve"]), ('type = "split"', [])])
def test_records_that_split_may_take_different_ways(stage: str, expected: list[str]) -> None:
    """Although each of them takes only one."""
    stages = (f'{stage}\nfan_out = "first"', FILL, POLISH, JOIN)
    way = edges("a -> b", "b -> c, when = 'input'", "b -> d", "c -> e", "d -> e", "e -> z")
    assert codes(chain(*stages, edges=way)) == expected


@pytest.mark.parametrize(("mode", "expected"), [("all", []), ("any", ["session-order-lost"])])
def test_a_race_before_lanes_may_change_the_order(mode: str, expected: list[str]) -> None:
    """Where the first branch of a record is lost, the next record overtakes it."""
    lanes = f'{ROUTE}\nconcurrency = 2\naffinity = "session"'
    stages = (FILL, POLISH, f'{ROUTE}\njoin = "{mode}"', lanes)
    assert codes(chain(*stages, edges=edges(*FORK[:4], "d -> e", "e -> z"))) == expected


def test_a_default_order_may_be_for_other_edges() -> None:
    """Those that hold more than one record."""
    more = '[defaults.edge]\norder = "priority"\n'
    assert codes(diamond(*FORK[:4], "d -> z, capacity = 1", more=more)) == []


def test_a_shadow_may_have_a_join_of_its_own() -> None:
    """Also where records of another source come to it."""
    way = edges("a -> z", "a -> b, best_effort = true", "y -> b", "b -> c", "b -> d", "c -> e", "d -> e", "e -> z")
    assert codes(chain(ROUTE, FILL, POLISH, JOIN, edges=way, more=OTHER)) == []


def test_defaults_of_edges_are_told_once() -> None:
    """A wrong default is one mistake, whatever edges inherit it."""
    assert codes(diamond(more='[defaults.edge]\nageing = "1s"\n')) == ["ageing-without-priority"]
    assert codes(diamond(more='[defaults.edge]\norder = "priority"\nageing = "1s"\n')) == []
    assert codes(diamond(more="[defaults.edge]\ndead_letter = true\n")) == ["dead-letter-without-store"]
    assert codes(diamond(more='[defaults.edge]\ndead_letter = true\n[dead_letters]\npath = "x.db"\n')) == []


def test_an_edge_of_another_order_than_the_default() -> None:
    """It has the default's ageing, which is no mistake of its own."""
    more = '[defaults.edge]\norder = "priority"\nageing = "1s"\n'
    assert codes(diamond(*FORK[:4], "d -> z, order = 'fifo'", more=more)) == []


READS_BOTH = 'type = "fill"\ntemplate = "{{ prompt }} {{ text }}"\njoin = "all"'


@pytest.mark.parametrize(
    ("pairs", "join", "expected"),
    [
        (FORK, "", []),
        (FORK, '\non_missing = "partial"', ["field-not-written", "field-not-written"]),
        (("a -> b, when = 'input'", "a -> c", *FORK[2:]), "", ["field-not-written"]),
        (("a -> b", "a -> c", "b -> d, when = 'input'", "c -> d", "d -> z"), "", []),  # what matches no edge fails
    ],
)
def test_fields_after_a_join(pairs: tuple[str, ...], join: str, expected: list[str]) -> None:
    """What a branch writes is there behind the join, if no record comes through without that branch."""
    assert codes(diamond(*pairs, d=READS_BOTH + join)) == expected


@pytest.mark.parametrize(
    ("stage", "pairs", "expected"),
    [
        (FILL, ("a -> b", "a -> c", "b -> d", "b.error -> d", "c -> d", "d -> z"), ["field-not-written"]),
        (FILL, ("a -> b", "a -> c", "b -> d", "b.error -> z", "c -> d", "d -> z"), []),
        (FILL, ("a -> b", "a -> c", "y -> c", "b -> d", "c -> d", "d -> z"), ["field-not-written"]),
        (FILL, ("a -> b", "a -> c", "y -> b", "y -> c", "b -> d", "c -> d", "d -> z"), []),
    ],
)
def test_a_branch_that_surely_comes_brings_its_fields(stage: str, pairs: tuple[str, ...], expected: list[str]) -> None:
    """Not where a record may come to the join by other ways only: an error port, or from another source."""
    error = '\non_error = "port"' if any(pair.startswith("b.error") for pair in pairs) else ""
    more = OTHER if any(pair.startswith("y") for pair in pairs) else ""
    assert codes(diamond(*pairs, b=stage + error, d=READS_BOTH, more=more)) == expected


def test_a_branch_that_may_be_filtered_does_not_surely_come() -> None:
    """A stage says so where it is declared; before the fork, or behind it all, it does no harm."""
    sift, reader = 'type = "sift"', READS_BOTH
    assert codes(diamond(b=sift, d=reader)) == ["field-not-written"]
    before = edges("a -> b", "b -> c", "b -> d", "c -> e", "d -> e", "e -> z")
    assert codes(chain(sift, FILL.replace("input", "prompt"), POLISH, reader, edges=before)) == []


def test_a_branch_that_ends_without_a_match_may_be_absent() -> None:
    """Filtered is not missing, so that the join goes on without what the branch would have brought."""
    pairs = ("a -> b", "a -> c", "b -> d, when = 'input'", "c -> d", "d -> z")
    assert codes(diamond(*pairs, b=f'{FILL}\nunmatched = "filter"', d=READS_BOTH)) == ["field-not-written"]


ROUTES = "a -> b", "a -> c", "b -> e, when = 'input'", "b -> f", "f -> d", "c -> d", "d -> z"


@pytest.mark.parametrize(
    ("more", "of_b", "of_d", "expected"),
    [
        (("e -> d",), "first", "", []),  # one of two ways, and both lead to the join
        (("e -> f",), "first", "", []),  # ... the same if they meet before it
        (("e -> z",), "first", "", ["field-not-written"]),
        (("e -> d",), "all", "", ["joined-twice"]),
        (("e -> d",), "first", '\non_missing = "partial"', ["field-not-written", "field-not-written"]),
    ],
)
def test_a_branch_that_chooses_its_way(more: tuple[str, ...], of_b: str, of_d: str, expected: list[str]) -> None:
    """Stage `b` sends to `e` or `f`: never to both, so that they cannot clash, and always to one."""
    fan_out, writer = f'{ROUTE}\nfan_out = "{of_b}"', FILL
    stages = (fan_out, POLISH, READS_BOTH + of_d, writer, writer)
    text = chain(*stages, source='type = "lines"\npath = "in"', edges=edges(*ROUTES, *more))
    assert sorted(codes(text)) == expected


@pytest.mark.parametrize(
    ("shed", "expected"),
    [
        ("c -> d", 0),  # the inner join goes on without it
        ("b -> c", 1),  # before the inner fork: nothing is left for the inner join to go on with
    ],
)
def test_an_inner_join_makes_up_for_its_branches(shed: str, expected: int) -> None:
    """What is lost or slow between an inner fork and its join is no matter of the outer one."""
    pairs = ("a -> b", "b -> c", "c -> d", "c -> f", "f -> d", "d -> e", "a -> e", "e -> z")
    slow = f'{ROUTE}\ntimeout = "20s"\nretry = {{ attempts = 2 }}'
    stages = (ROUTE, ROUTE, f'{JOIN}\non_missing = "partial"\njoin_timeout = "1s"', JOIN, slow)
    lossy = [f'{pair}, when_full = "drop_newest"' if pair == shed else pair for pair in pairs]
    text = chain(*stages, source='type = "lines"\npath = "in"', edges=edges(*lossy))
    starving = [found.message for found in findings(text) if found.code == "join-can-starve"]
    assert sum("`e` can starve" in message for message in starving) == expected


def test_conditions_may_exclude_each_other() -> None:
    """Nobody knows whether a record ever takes both edges, so nothing is said of a clash."""
    pairs = ("a -> b, when = 'input'", "a -> c, when = 'not input'", *FORK[2:])
    assert codes(diamond(*pairs, b=POLISH)) == []


@pytest.mark.parametrize(("read", "expected"), [("one", []), ("prompt", ["joined-twice"])])
def test_what_has_served_its_purpose_does_not_clash(read: str, expected: list[str]) -> None:
    """Each branch fills in its own `prompt`, and uses it; it matters which one stays if somebody behind reads it."""
    pairs = ("a -> b", "a -> c", "b -> e", "c -> f", "e -> d", "f -> d", "d -> z")
    uses, joins = ('type = "fill"\ntemplate = "{{{{ {} }}}}"\noutput = "{}"'.format, '\njoin = "all"')
    stages = (FILL, FILL, uses(read, "text") + joins, uses("prompt", "one"), uses("prompt", "two"))
    assert codes(chain(*stages, source='type = "lines"\npath = "in"', edges=edges(*pairs))) == expected


def test_without_a_join_no_record_has_both() -> None:
    """Each branch comes by itself."""
    assert codes(diamond(d=READS_BOTH.replace('\njoin = "all"', ""))) == ["field-not-written"] * 2


def test_a_completion_does_not_stay_live_into_a_join() -> None:
    """Nor over an edge that may have to keep it."""
    ask = 'type = "ask"\nworker = "w"'
    worker = '[workers.w]\ntype = "remote"\n'
    live = plan_of(chain(FILL, ask, more=worker))
    kept = plan_of(
        chain(FILL, ask, edges=edges("a -> b", "b -> c", "c -> z, max_wait = '1s', dead_letter = true"), more=worker)
        + '[dead_letters]\npath = "x.db"\n'
    )
    both = plan_of(
        chain(FILL, ask, edges=edges("a -> b", "b -> c", "b -> z", "c -> z"), more=worker).replace(
            '[sinks.z]\ntype = "show"', '[sinks.z]\ntype = "show"\njoin = "all"'
        )
    )
    assert [plan.nodes["c"].live for plan in (live, kept, both)] == [True, False, False]


def test_the_hint_of_a_starving_join_says_how_long() -> None:
    """The time that the branch may take in all."""
    [found] = findings(diamond(b=f'{FILL}\ntimeout = "20s"\nretry = {{ attempts = 3 }}'))
    assert found.message == "join `d` can starve: it waits 30s, but `b` may take 1min"
    assert found.hint == 'set `join_timeout` of `d` to more than "1min"'
