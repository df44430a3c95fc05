"""Replay: dead letters take the place of the sources of their file.

A letter goes on at its node, over an edge that only the replay has, or from the start, where its
source would have handed it in. It is removed once its record is delivered or filtered. Where the
record fails again, its new letter replaces it; where it ends otherwise, it stays.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dagflow.engine.engine import Engine
from dagflow.engine.letters import Letters
from dagflow.engine.resending import REPLAY, Entry, ReplaySource
from dagflow.graph.plan import EdgePlan, NodePlan, Plan
from dagflow.plugin import NoOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dagflow.engine.resending import Answer, Read
    from dagflow.store.letter import Letter


def choose_entries(
    plan: Plan, letters: Iterable[Letter], from_start: bool
) -> tuple[list[Entry], dict[str, list[Letter]]]:
    """Say how letters are sent in again, and why some are not: letters by reason.

    From the start, all letters of one record are one entry.
    """
    entries: dict[Any, Entry] = {}
    refused: dict[str, list[Letter]] = {}
    for letter in letters:
        whole = from_start or letter.node == letter.source
        reason = _refusal_of_start(plan, letter) if whole else _refusal(plan, letter)
        if reason is not None:
            refused.setdefault(reason, []).append(letter)
        elif whole:
            entry = entries.setdefault(letter.acceptance, Entry(letter.source, None, ()))
            entries[letter.acceptance] = replace(entry, ids=(*entry.ids, letter.id))
        else:
            entries[letter.id] = Entry(REPLAY, letter.node, (letter.id,))
    return list(entries.values()), refused


def build_replay(
    plan: Plan, entries: Sequence[Entry], read: Read, answer: Answer | None = None
) -> tuple[Plan, Callable[[Plan], Engine]]:
    """Give the plan of a replay, and what builds its engine; `answer` takes what a `reply` sink is given."""
    names = [node.name for node in plan.of_kind("source")]
    targets = dict.fromkeys(entry.node for entry in entries if entry.node is not None)
    if targets:
        plan = _with_replay(plan, list(targets))
        names.append(REPLAY)

    def build(plan: Plan) -> Engine:
        letters = Letters(plan.dead_letters, bounded=False)
        sources = {
            name: ReplaySource([entry for entry in entries if entry.source == name], read, letters, answer)
            for name in names
        }
        return Engine(plan, substitutes=sources, letters=letters, resumes=True)

    return plan, build


def _with_replay(plan: Plan, targets: list[str]) -> Plan:
    source = NodePlan(REPLAY, "source", "replay", ReplaySource, NoOptions(), ports=frozenset(targets))
    edges = tuple(EdgePlan(REPLAY, target, target) for target in targets)
    return replace(plan, nodes={REPLAY: source, **plan.nodes}, edges=(*plan.edges, *edges))


def _refusal_of_start(plan: Plan, letter: Letter) -> str | None:
    if not letter.readable:
        return "no record could be made of the input; correct it, and run it again"
    if letter.source not in {node.name for node in plan.of_kind("source")}:
        return f"there is no source `{letter.source}` any more"
    return _loss(letter.as_text["accepted"])


def _refusal(plan: Plan, letter: Letter) -> str | None:
    node = plan.nodes.get(letter.node)
    if node is None or node.kind == "source":
        return f"there is no stage or sink `{letter.node}` any more; `--from-start` sends records in at their source"
    if node.join is not None and (letter.outcome != "failed" or letter.code.startswith("join-")):
        return f"the branches of a record are joined at `{letter.node}`; `--from-start` sends in whole records"
    join = _join_behind(plan, letter.node)
    if join is not None:
        return f"`{join}` behind `{letter.node}` joins the branches of a record; `--from-start` sends in whole records"
    remedy = "" if letter.as_text["accepted"] else "; `--from-start` does without it"
    return _loss(letter.as_text["fields"], remedy)


def _loss(names: Sequence[str], remedy: str = "") -> str | None:
    return f"`{names[0]}` is kept as text only, since JSON cannot hold it{remedy}" if names else None


def _join_behind(plan: Plan, name: str) -> str | None:
    """Give the nearest node behind a node that joins."""
    todo, seen = [name], {name}
    for start in todo:
        for target in (edge.target for edge in plan.edges_from[start]):
            if plan.nodes[target].join is not None:
                return target
            if target not in seen:
                seen.add(target)
                todo.append(target)
    return None
