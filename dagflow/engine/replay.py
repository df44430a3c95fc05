"""Replay: dead letters take the place of the sources of their file.

A letter goes on at its node, over an edge that only the replay has, or from the start, where its
source would have handed it in. It is removed once its record is delivered or filtered. Where the
record fails again, its new letter replaces it; where it ends otherwise, it stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread

from dagflow.engine.engine import Engine
from dagflow.engine.letters import Letters
from dagflow.engine.postbox import Accepted, Resent
from dagflow.errors import DagflowError
from dagflow.graph.plan import EdgePlan, NodePlan, Plan
from dagflow.plugin import NoOptions, Source
from dagflow.record import Outcome, Record
from dagflow.store.payload import unpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from dagflow.store.letter import Letter

    Read = Callable[[Sequence[int]], list[Letter]]
    Answer = Callable[[Record], None]

REPLAY: Final = "(replay)"
"""The source of what goes on at its node. No node of a file can have this name."""

_PAGE: Final = 100  # letters that are read at a time


@dataclass(frozen=True, slots=True)
class Entry:
    """A record to be sent in again.

    Attributes:
        source: which source hands it in.
        node: where it goes on; None for where all records of the source go.
        ids: numbers of the letters that it is made of.
    """

    source: str
    node: str | None
    ids: tuple[int, ...]


class ReplaySource(Source):
    """Hands in records that it makes of letters."""

    def __init__(self, entries: Sequence[Entry], read: Read, letters: Letters, answer: Answer | None) -> None:
        """Take what gives letters by their numbers, what removes them, and what takes answers."""
        super().__init__()
        self._entries = entries
        self._read = read
        self._letters = letters
        self._answer = answer
        self._handed_in = 0

    async def records(self) -> AsyncIterator[Record]:
        """Give the records of the letters that are still there."""
        for start in range(0, len(self._entries), _PAGE):
            page = self._entries[start : start + _PAGE]
            letters = await to_thread.run_sync(self._read, [id for entry in page for id in entry.ids])
            found = {letter.id: letter for letter in letters}
            for entry in page:
                self._handed_in += 1
                if entry.ids[0] in found:
                    yield _record_of(found[entry.ids[0]], entry)

    def settle(self, record: Record, outcome: Outcome) -> None:
        """Remove the letters of a record that has come through, once its answer is written."""
        if outcome not in (Outcome.DELIVERED, Outcome.FILTERED):
            return
        try:
            if record.ticket.answer is not None and self._answer is not None:
                self._answer(record.ticket.answer)
        except DagflowError as error:
            self._letters.on_trouble(f"record `{record.id}` was answered, and its letter stays: {error}")
        else:
            self._letters.discard(record.accepted.replaces)

    def progress(self) -> float:
        """The share that has been handed in."""
        return self._handed_in / len(self._entries) if self._entries else 1.0


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


def _record_of(letter: Letter, entry: Entry) -> Resent:
    """Make the record of a letter. It has no deadline: that has passed, or soon would."""
    original = Record(unpack(letter.accepted))
    _describe(original, letter.accepted_about)
    accepted = Accepted(letter.source, original)
    accepted.key, accepted.replaces, accepted.replays = letter.acceptance, entry.ids, letter.replays + 1
    if entry.node is None:
        record = Resent(original)
        _describe(record, letter.accepted_about)
    else:
        record = Resent(unpack(letter.fields))
        _describe(record, letter.about)
        record.port = entry.node
    record.accepted = accepted
    return record


def _describe(record: Record, about: str) -> None:
    for name, value in unpack(about).items():
        setattr(record, name, value)
