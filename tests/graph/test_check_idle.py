"""Warnings: what is allowed, but has no effect or can hardly be meant."""

from __future__ import annotations

import pytest
from toys import chain, codes, findings

FILL = 'type = "fill"\ntemplate = "x"'
SPLIT = 'type = "split"'


def edges(first: str = "", second: str = "") -> str:
    """Give two edges in a row with further keys."""
    return f'{{ from = "a", to = "b"{first} }}, {{ from = "b", to = "z"{second} }}'


DROP = ', when_full = "drop_oldest"'


@pytest.mark.parametrize(
    ("in_flight", "stage", "keys", "idle"),
    [
        (512, FILL, (DROP, ""), True),
        (513, FILL, (DROP, ""), False),
        (512, FILL, ("", DROP), True),
        (512, SPLIT, ("", DROP), False),
        (512, SPLIT, (DROP, ""), True),
        (100, FILL, (f"{DROP}, capacity = 99", ""), False),
        (100, FILL, (f'{DROP}, max_bytes = "1KiB"', ""), False),
        (100, FILL, ("", ', block_timeout = "1s"'), True),
        (100, FILL, (', when_full = "block"', ""), False),
    ],
)
def test_an_edge_with_room_for_all_records_is_never_full(
    in_flight: int, stage: str, keys: tuple[str, str], idle: bool
) -> None:
    """Unless a stage before it may split records, or bytes fill it."""
    found = codes(chain(stage, edges=edges(*keys)), f"pipeline.max_in_flight={in_flight}")
    assert found == (["idle-when-full"] if idle else [])


def test_two_ways_to_an_edge_may_fill_it() -> None:
    """A record can be on it once for each way."""
    file = chain(
        FILL,
        FILL,
        edges='{ from = "a", to = "b" }, { from = "a", to = "c" }, { from = "b", to = "c" },'
        ' { from = "c", to = "z", when_full = "drop_newest", capacity = 150 }',
    )
    assert codes(file, "pipeline.max_in_flight=100") == []
    assert codes(file, "pipeline.max_in_flight=75") == ["idle-when-full"]


def test_behind_best_effort_nothing_is_certain() -> None:
    """Those records are in flight no more."""
    file = chain(
        FILL,
        edges='{ from = "a", to = "z" }, { from = "a", to = "b", best_effort = true, when_full = "drop_newest" },'
        ' { from = "b", to = "z", when_full = "drop_newest" }',
    )
    assert codes(file, "pipeline.max_in_flight=1") == []


def test_a_default_is_idle_if_it_is_for_all_edges() -> None:
    """One edge that can be full is enough to need it."""
    file = chain(FILL, edges=edges(), more='[defaults.edge]\nwhen_full = "drop_oldest"\n')
    (found,) = findings(file, "pipeline.max_in_flight=100")
    assert (found.code, found.key) == ("idle-when-full", ("defaults", "edge", "when_full"))
    assert codes(file, "pipeline.max_in_flight=100", "pipeline.edges.0.capacity=10") == []


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        ('{ backoff = "1s" }', ["idle-retry"]),
        ("{}", ["idle-retry"]),
        ("{ attempts = 1 }", []),
        ("{ attempts = 2 }", []),
    ],
)
def test_a_retry_without_attempts_tries_once(retry: str, expected: list[str]) -> None:
    """Which is what everybody gets; somebody who writes it wants more."""
    assert codes(chain(f"{FILL}\nretry = {retry}")) == expected


@pytest.mark.parametrize(
    ("keys", "expected"),
    [("", ["idle-unmatched"]), (', when = "input"', []), (', when = "prompt"', [])],
)
def test_unmatched_needs_an_edge_that_may_refuse(keys: str, expected: list[str]) -> None:
    """An edge without `when` takes every record."""
    assert codes(chain(f'{FILL}\nunmatched = "filter"', edges=edges("", keys))) == expected


def test_unmatched_counts_every_port() -> None:
    """A port without an edge refuses everything."""
    route = 'type = "route"\nlarge = "input"\nunmatched = "filter"'
    file = chain(route, edges='{ from = "a", to = "b" }, { from = "b", to = "z" }, { from = "b.large", to = "z" }')
    assert codes(file) == ["unconnected-port"]


@pytest.mark.parametrize(
    ("fan_out", "keys", "expected"),
    [
        ("first", ("", ', when = "input"'), ["unreachable-edge"]),
        ("first", (', when = "input"', ""), []),
        ("first", ("", ""), ["unreachable-edge"]),
        ("all", ("", ', when = "input"'), []),
    ],
)
def test_an_edge_behind_one_that_takes_all_is_never_taken(
    fan_out: str, keys: tuple[str, str], expected: list[str]
) -> None:
    """Only where the first edge wins."""
    rows = f'{{ from = "a", to = "b" }}, {{ from = "b", to = "z"{keys[0]} }}, {{ from = "b", to = "y"{keys[1]} }}'
    file = chain(f'{FILL}\nfan_out = "{fan_out}"', edges=rows, more='[sinks.y]\ntype = "show"\n')
    assert codes(file) == expected


@pytest.mark.parametrize(("timeout", "expected"), [("30s", []), ("31s", ["timeout-exceeds-drain"])])
def test_a_timeout_longer_than_the_drain_is_told(timeout: str, expected: list[str]) -> None:
    """Of stages and sinks."""
    assert codes(chain(f'{FILL}\ntimeout = "{timeout}"')) == expected
    assert codes(chain(FILL, more=f'timeout = "{timeout}"\n')) == expected


def test_a_worker_is_used_by_a_stage_or_by_another_worker() -> None:
    """And only then."""
    ask = 'type = "ask"\nworker = "w"'
    workers = '[workers.w]\ntype = "remote"\nfallback = "v"\n[workers.v]\ntype = "remote"\n'
    assert codes(chain(FILL, ask, more=workers)) == []
    (found,) = findings(chain(FILL, ask, more=f'{workers}[workers.u]\ntype = "remote"\n'))
    assert (found.code, found.key) == ("unused-worker", ("workers", "u"))


def test_a_worker_is_not_called_unused_while_a_node_is_unknown() -> None:
    """That node may be the one that uses it."""
    assert codes(chain('type = "aks"\nworker = "w"', more='[workers.w]\ntype = "remote"\n')) == ["unknown-type"]
