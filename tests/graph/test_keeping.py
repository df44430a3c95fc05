"""Sources that can't leave a record open, as files with them are checked."""

from __future__ import annotations

import pytest
from toys import chain, findings

FILL = 'type = "fill"\ntemplate = "x"'
LOG = 'type = "log"'
LETTERS = '[dead_letters]\npath = "letters.db"\n'


def lost(own: str = "", stage: str = FILL, source: str = LOG, more: str = LETTERS, best: str = "") -> list[object]:
    """Give where a file with such a source is told to lose records; its first edge has these keys."""
    edges = f'{{ from = "a", to = "b"{own} }}, {{ from = "b", to = "z" }}{best}'
    found = findings(chain(stage, source=source, edges=edges, more=more))
    return [d.key for d in found if d.code == "lost-for-good"]


@pytest.mark.parametrize(
    "loses", ['when_full = "drop_newest"', 'when_full = "drop_oldest"', 'max_wait = "1s"', 'block_timeout = "1s"']
)
def test_an_edge_that_sheds_keeps_what_it_sheds(loses):
    """Whatever makes it shed; behind any other source it need not."""
    assert lost(f", {loses}") == [("pipeline", "edges", 0)]
    assert lost(f", {loses}, dead_letter = true") == []
    assert lost(f", {loses}", source='type = "lines"\npath = "in"') == []


def test_a_side_that_nobody_counts_may_shed():
    """What ends on a best-effort edge is no outcome of the record."""
    side = ', { from = "b", to = "y", best_effort = true, when_full = "drop_newest" }'
    assert lost(best=side, more=f'{LETTERS}[sinks.y]\ntype = "show"\n') == []


def test_dead_letters_must_be_kept():
    """There is a store for them, and no stage drops what fails."""
    assert lost() == []
    assert lost(more="") == [("sources", "a")]
    assert lost(stage=f'{FILL}\non_error = "drop"') == [("stages", "b", "on_error")]
