"""Orders, cycles and reach."""

from hypothesis import given
from hypothesis import strategies as st

from dagflow.graph.order import find_cycles, forward_order, reachable

NAMES = list("abcdefg")
LINKS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=12)


@given(LINKS)
def test_there_is_an_order_or_a_cycle(links: list[tuple[str, str]]) -> None:
    """Never both: each link leads forward, or each cycle is one."""
    order = forward_order(NAMES, links)
    cycles = find_cycles(NAMES, links)
    assert (order is None) == bool(cycles)
    if order is not None:
        assert sorted(order) == NAMES
        assert all(order.index(start) < order.index(end) for start, end in links)
    for cycle in cycles:
        assert all(step in links for step in zip(cycle, [*cycle[1:], cycle[0]], strict=True))
        assert cycle[0] == min(cycle)


@given(LINKS, st.sets(st.sampled_from(NAMES)))
def test_reach_is_the_least_closed_set(links: list[tuple[str, str]], starts: set[str]) -> None:
    """It holds the starts, follows every link, and nothing else is in it."""
    found = reachable(starts, links)
    assert starts <= found
    assert all(end in found for start, end in links if start in found)
    assert all(name in starts or any(end == name and start in found for start, end in links) for name in found)


def test_the_order_of_independent_nodes_is_that_of_the_file() -> None:
    """The same file always gives the same plan."""
    assert forward_order(["c", "a", "b"], []) == ["c", "a", "b"]
