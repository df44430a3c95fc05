"""Which stages may leave their completions live."""

import pytest
from toys import chain, plan_of

ASK = 'type = "ask"\nworker = "w"'
PASS = 'type = "route"'
FILL = 'type = "fill"\ntemplate = "x"'
WORKER = '[workers.w]\ntype = "remote"\n'
SINK = '[sinks.y]\ntype = "show"\n'


def rows(*pairs: tuple[str, str, str]) -> str:
    """Write edges with further keys."""
    return ", ".join(f'{{ from = "{start}", to = "{end}"{more} }}' for start, end, more in pairs)


SPILL = ', when_full = "spill", spill = { path = "s" }'


def is_live(stages: tuple[str, ...], edges: str = "", more: str = "") -> bool:
    """Whether stage `c`, which asks a worker, may stream."""
    return plan_of(chain(FILL, *stages, edges=edges, more=more + WORKER)).nodes["c"].live


def test_straight_to_a_sink_that_forwards() -> None:
    """The simplest live chain."""
    assert is_live((ASK,))


def test_through_a_stage_that_passes_it_on() -> None:
    """As long as all of them do."""
    assert is_live((ASK, PASS, PASS))
    assert not is_live((ASK, PASS, FILL))


@pytest.mark.parametrize(
    ("edge", "live"),
    [
        ("", True),
        (", capacity = 3", True),
        (', when = "completion"', False),
        (', when_full = "drop_newest"', True),
        (SPILL, False),
    ],
)
def test_conditions_and_disks_need_the_whole_completion(edge: str, live: bool) -> None:
    """They could look at its end, or have to write it."""
    assert is_live((ASK,), rows(("a", "b", ""), ("b", "c", ""), ("c", "z", edge))) is live


def test_a_fan_out_awaits_it() -> None:
    """Also one over `best_effort`, and one behind a stage that passes it on."""
    for more in ("", ", best_effort = true"):
        edges = rows(("a", "b", ""), ("b", "c", ""), ("c", "z", ""), ("c", "y", more))
        assert not is_live((ASK,), edges, SINK)


def test_an_error_port_is_no_fan_out() -> None:
    """What fails is not what streams."""
    edges = rows(("a", "b", ""), ("b", "c", ""), ("c", "z", ""), ("c.error", "y", ""))
    assert is_live((f'{ASK}\non_error = "port"',), edges, SINK)


def test_several_sources_may_lead_into_it() -> None:
    """Inputs do not matter, outputs do."""
    edges = rows(("a", "b", ""), ("b", "c", ""), ("c", "d", ""), ("b", "d", ""), ("d", "z", ""))
    assert is_live((ASK, PASS), edges)


def test_a_source_is_never_live() -> None:
    """Only stages make completions."""
    plan = plan_of(chain(PASS))
    assert plan.nodes["b"].live
    assert not plan.nodes["a"].live
    assert not plan.nodes["z"].live
