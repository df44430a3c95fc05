"""Checks of what brings records together again: joins, lanes, orders and dead letters."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from dagflow.config.diagnostics import Diagnostic, diagnose
from dagflow.graph.draft import edge_key
from dagflow.graph.order import reachable
from dagflow.graph.ways import partings, ways_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.graph.draft import Draft
    from dagflow.graph.plan import EdgePlan


def check_gathering(draft: Draft) -> Iterator[Diagnostic]:
    """Find keys of joins, lanes, orders and dead letters that do not go together."""
    yield from _check_join_keys(draft)
    yield from _check_edges(draft)
    if draft.edges_lost:
        return
    for name, node in draft.nodes.items():
        if node.affinity is not None:
            yield from _check_lanes(name, draft)
        if node.join is not None:
            yield from _check_join(name, draft)


def _check_join_keys(draft: Draft) -> Iterator[Diagnostic]:
    for name, kind in draft.kinds.items():
        table = draft.tables.get((f"{kind}s", name))
        mode = getattr(table, "join", None)
        for key in ("join_timeout", "on_missing"):
            if getattr(table, key, None) is not None and mode != "all":
                found = "it has none" if mode is None else f"it is `{mode}`, which waits for nothing that it lacks"
                text = f'`{key}` of {draft.label(name)} needs `join = "all"`, but {found}'
                hint = f'remove `{key}`, or set `join = "all"`'
                yield diagnose("join-key-without-join", text, (*draft.node_key(name), key), hint=hint)


def _check_edges(draft: Draft) -> Iterator[Diagnostic]:
    keeps = ("dead_letters",) in draft.tables
    defaults = draft.tables.get(("defaults",))
    places = [(edge_key(index), draft.tables[edge_key(index)]) for index in draft.edges]
    if defaults is not None:
        places.append((("defaults", "edge"), defaults.edge))
    for key, table in places:
        own = key[0] == "defaults" or defaults is None
        if table.ageing is not None and table.order != "priority" and (own or table.ageing != defaults.edge.ageing):
            text = f'`ageing` needs `order = "priority"`, but it is `{table.order}`'
            hint = 'remove `ageing`, or set `order = "priority"`'
            yield diagnose("ageing-without-priority", text, (*key, "ageing"), hint=hint)
        if table.dead_letter and not keeps and (own or not defaults.edge.dead_letter):
            text = "`dead_letter` keeps what the edge sheds, but the file does not say where"
            hint = 'add a table `[dead_letters]` with a `path`, such as `path = "dead-letters.db"`'
            yield diagnose("dead-letter-without-store", text, (*key, "dead_letter"), hint=hint)


def _check_lanes(name: str, draft: Draft) -> Iterator[Diagnostic]:
    if draft.nodes[name].join is not None:
        text = f"{draft.label(name)} has both `join` and `affinity`, but a join has no lanes"
        hint = "put `affinity` on the stage behind it"
        yield diagnose("affinity-with-join", text, (*draft.node_key(name), "affinity"), hint=hint)
    for index, edge in draft.entering(name):
        if edge.order != "fifo":
            text = f"edge goes by `{edge.order}` into {draft.label(name)}, whose `affinity` keeps the order of sessions"
            hint = f"remove `order`, or `affinity` of `{name}`"
            yield diagnose("order-with-affinity", text, edge_key(index, "order"), hint=hint)


def _check_join(name: str, draft: Draft) -> Iterator[Diagnostic]:
    key = (*draft.node_key(name), "join")
    entering = list(draft.entering(name))
    if len(entering) == 1:
        text = f"{draft.label(name)} joins, but one edge goes into it"
        hint = "remove `join`, or add the edges of the other branches"
        yield diagnose("join-of-one", text, key, hint=hint)
    ways = ways_to(name, draft)
    for index in sorted(ways.all_edges if len(entering) > 1 else ()):
        if draft.edges[index].best_effort and _goes_round(index, name, draft):
            text = f"join `{name}` would take what leaves over a best-effort edge for a record of its own"
            hint = "take `best_effort` off it, or lead it to another node"
            yield diagnose("join-best-effort", text, edge_key(index, "best_effort"), hint=hint, others=[key])
    for index in ways.branch_edges if len(entering) > 1 else ():
        if draft.edges[index].via != "memory":
            text = f"join `{name}` can only follow branches in memory, but one goes via `{draft.edges[index].via}`"
            hint = "take `via` off this edge; before the fork and behind the join it may stand"
            yield diagnose("join-across-transport", text, edge_key(index, "via"), hint=hint, others=[key])


def _goes_round(index: int, name: str, draft: Draft) -> bool:
    """Whether the records that an edge takes reach a join also by another way than over it."""
    edge = draft.edges[index]
    before = reachable([edge.source], [(e.target, e.source) for e in draft.edges.values()])
    links = [(e.source, e.target) for i, e in draft.edges.items() if i != index]
    return name in reachable([node for node in before if draft.kinds[node] == "source"], links)


def clashes(name: str, draft: Draft) -> dict[str, tuple[str, str]]:
    """Give the fields that stages on two branches to a join write, with the two stages; the later edge's wins."""
    ways = ways_to(name, draft)
    found: dict[str, tuple[str, str]] = {}
    for one, other in combinations(range(len(ways.inputs)), 2):
        if not any(map(_both_taken, partings(ways, one, other, draft))):
            continue
        mine, others = ways.own_nodes(one, other)
        left, right = _writers(mine, draft), _writers(others, draft)
        for field in left.keys() & right.keys():
            if not _used_up(field, mine, name, draft):
                found.setdefault(field, (left[field], right[field]))
    return dict(sorted(found.items()))


def _both_taken(pair: tuple[EdgePlan, EdgePlan]) -> bool:
    """Whether it is certain that some record leaves over both edges: two conditions may exclude each other."""
    one, other = pair
    return one.when is None or other.when is None


def _used_up(field: str, branch: frozenset[str], join: str, draft: Draft) -> bool:
    """Whether a field served its purpose on a branch, where another stage read it, and no node behind reads it."""
    links = [(edge.source, edge.target) for edge in draft.edges.values()]
    readers = {
        name
        for name, node in draft.nodes.items()
        if node.kind != "source" and field in node.reads.union(*node.reads_any)
    }
    writers = {name for name in branch & draft.nodes.keys() if field in (draft.nodes[name].writes or ())}
    served = any(reader != writer for reader in readers & branch for writer in writers)
    return served and readers.isdisjoint(reachable([join], links))


def _writers(names: frozenset[str], draft: Draft) -> dict[str, str]:
    stages = [draft.nodes[name] for name in draft.kinds if name in names and name in draft.nodes]
    return {field: node.name for node in stages if node.kind == "stage" for field in sorted(node.writes or ())}
