"""Conservation: random graphs, policies, faults, cancellations and drains; every record ends once."""

from __future__ import annotations

import asyncio
import random
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st
from rigs import Flow, FunctionStage, ListSink, ListSource, check_balance, edge_of

from dagflow.errors import RecordError, WorkerError
from dagflow.expressions import Expression
from dagflow.graph.plan import DeadLettersPlan, JoinPlan, RetryPlan
from dagflow.record import Outcome, Record
from dagflow.store.database import open_database
from dagflow.store.letter import Selection
from dagflow.store.letters import LETTERS, find_letters
from dagflow.store.payload import unpack

POLICIES = ["block", "drop_newest", "drop_oldest", "drop_lowest"]
CONDITIONS = [None, None, None, Expression("priority > 0"), Expression("missing"), Expression("id < 3")]


GATHERINGS = [
    {},
    {},
    {"affinity": "session"},
    {"join": JoinPlan("all")},
    {"join": JoinPlan("all", on_missing="partial")},
    {"join": JoinPlan("all", 0.001, "fail")},
    {"join": JoinPlan("all", 0.001, "partial")},
    {"join": JoinPlan("any")},
]


def behaviour(kind: str, dice: random.Random) -> Any:
    """A stage function of one kind, with its own dice and its own memory."""
    kept: list[Record] = []

    async def passing(record):
        return record

    async def pausing(record):
        for _ in range(dice.randrange(4)):
            await asyncio.sleep(0)
        return record

    async def filtering(record):
        return record if dice.random() < 0.7 else None

    async def failing(record):
        if dice.random() < 0.3:
            raise dice.choice([RecordError("no"), WorkerError("unavailable", "later"), ValueError("bug"), Panic()])
        return record

    async def keeping(record):
        kept.insert(0, record)
        del kept[3:]
        return dice.choice(kept)

    async def splitting(record):
        await asyncio.sleep(0)
        return [dice.choice([Record({"part": part}), record, *kept, 0]) for part in range(dice.randrange(4))]

    async def replacing(record):
        return Record({"new": True})

    async def generating(record):
        for part in range(dice.randrange(3)):
            await asyncio.sleep(0)
            yield Record({"part": part})
        if dice.random() < 0.2:
            raise RecordError("broke")

    async def hanging(record):
        if dice.random() < 0.2:
            await anyio.sleep_forever()
        return record

    def in_thread(record):
        return dice.choice([record, None, [record, Record()]])

    return locals()[kind]


KINDS = [
    "passing",
    "pausing",
    "filtering",
    "failing",
    "keeping",
    "splitting",
    "replacing",
    "generating",
    "hanging",
    "in_thread",
]


class Panic(BaseException):
    """What libraries in other languages raise."""


class SlowlyTold(ListSource):
    """A source whose `settle` is awaited, and which looks at the books whenever it is called."""

    report: Any = None

    def settle(self, record: Record, outcome: Outcome) -> Any:
        """Look, and remember the outcome a moment later."""
        check_balance(self.report())
        return self._remember(record, outcome)

    async def _remember(self, record: Record, outcome: Outcome) -> None:
        await asyncio.sleep(0)
        super().settle(record, outcome)


@st.composite
def graphs(draw):
    """A random flow: sources, stages in layers, sinks, and edges that always lead forward."""
    dice = random.Random(draw(st.integers(0, 2**32)))
    count = draw(st.integers(1, 40))
    plugins: dict[str, Any] = {}
    node_settings: dict[str, dict[str, Any]] = {}
    sources = draw(st.integers(1, 2))
    for index in range(sources):
        given_records = [
            Record(
                {"n": n},
                str(n),
                session=dice.choice([None, "a", "b", "c"]),
                priority=dice.randrange(3),
                deadline=dice.choice([None, None, None, 0.0]),
            )
            for n in range(count)
        ]
        source = draw(st.sampled_from([ListSource, SlowlyTold]))
        plugins[f"in{index}"] = source(given_records, can_cancel=draw(st.booleans()))
    for index in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(KINDS))
        plugins[f"s{index}"] = FunctionStage(behaviour(kind, dice))
        node_settings[f"s{index}"] = {
            "concurrency": draw(st.integers(1, 3)),
            "timeout_s": 0.001 if kind == "hanging" else draw(st.sampled_from([None, 5.0])),
            "retry": RetryPlan(draw(st.integers(1, 3)), 0.0, 0.0),
            "fan_out": draw(st.sampled_from(["all", "first"])),
            "unmatched": draw(st.sampled_from(["fail", "filter"])),
            "on_error": draw(st.sampled_from(["drop", "dead_letter", "port"])),
            **draw(st.sampled_from(GATHERINGS)),
        }
    for index in range(draw(st.integers(1, 2))):
        plugins[f"out{index}"] = ListSink(behaviour(draw(st.sampled_from(["passing", "pausing", "failing"])), dice))
    edges = list(_edges(draw, list(plugins), sources))
    edges += [edge_of(f"{name}.error -> out0") for name, keys in node_settings.items() if keys["on_error"] == "port"]
    limit = draw(st.integers(1, 50))
    return Flow(plugins, edges, node_settings, max_in_flight=limit, drain_timeout_s=draw(st.sampled_from([0.0, 5.0])))


def _edges(draw, names, sources):
    for position, name in enumerate(names):
        if name.startswith("out"):
            continue
        later = names[max(position + 1, sources) :]
        chosen = draw(st.lists(st.sampled_from(later), max_size=2, unique=True))
        # The next node comes first, so that most graphs are deep and no node is left out.
        for number, target in enumerate(dict.fromkeys([later[0], *chosen])):
            policy = draw(st.sampled_from(POLICIES))
            yield edge_of(
                f"{name} -> {target}",
                capacity=draw(st.integers(1, 8)),
                when_full=policy,
                block_timeout_s=draw(st.sampled_from([None, 0.001])) if policy == "block" else None,
                max_wait_s=draw(st.sampled_from([None, None, 0.0])),
                max_bytes=draw(st.sampled_from([None, None, 60])),
                order=draw(st.sampled_from(["fifo", "priority", "deadline"])),
                ageing_s=0.001,
                when=draw(st.sampled_from(CONDITIONS)),
                best_effort=number > 0 and draw(st.booleans()),
            )


@settings(max_examples=150, deadline=None)
@given(
    flow=graphs(),
    script=st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["cancel", "look"])), max_size=6),
    stop=st.one_of(st.none(), st.integers(0, 60)),
    forced=st.booleans(),
)
def test_every_record_ends_once(flow, script, stop, forced):
    """Whatever happens, accepted equals the outcomes, every edge balances, every source is told once."""
    report = asyncio.run(_driven(flow, script, stop, forced))
    told = [outcome for name, plugin in flow.plugins.items() if name.startswith("in") for outcome in plugin.settled]
    assert len(told) == report["accepted"]


async def _driven(flow, script, stop, forced):
    """Run a flow while somebody meddles, and check the books of its report."""
    engine = flow.engine()
    for plugin in flow.plugins.values():
        plugin.report = engine.report

    async def meddle():
        await engine.started.wait()
        for steps, action in script:
            for _ in range(steps):
                await asyncio.sleep(0)
            check_balance(engine.report())
            if action == "cancel":
                _cancel_one(engine)
        if stop is not None:
            for _ in range(stop):
                await asyncio.sleep(0)
            if forced:
                engine.force("test")
            else:
                engine.stop("test")

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(meddle)
            report = await engine.run()
            tasks.cancel_scope.cancel()
    check_balance(report)
    assert report["in_flight"] == 0
    assert all(edge["buffered"] == 0 for edge in report["edges"].values())
    assert not any(node["join"]["waiting"] for node in report["nodes"].values() if "join" in node)
    assert all(0 <= node["done"] <= node["taken"] and not node["busy"] for node in report["nodes"].values())
    return report


@settings(max_examples=60, deadline=None)
@given(flow=graphs(), stop=st.one_of(st.none(), st.integers(0, 60)), forced=st.booleans())
def test_every_record_that_came_to_no_good_end_has_its_letter(flow, stop, forced):
    """It is there when the outcome is told: of what failed, was shed where that is kept, or was cut off."""
    nodes = {name: replace(node, on_error="dead_letter") for name, node in flow.plan.nodes.items()}
    edges = tuple(replace(edge, dead_letter=True) for edge in flow.plan.edges if edge.port is None)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "letters.db"
        flow.plan = replace(flow.plan, nodes=nodes, edges=edges, dead_letters=DeadLettersPlan(path))
        told = []
        for name, plugin in flow.plugins.items():
            if name.startswith("in"):
                plugin.settle = partial(_note, told, name, path)
        report = asyncio.run(_driven(flow, [], stop, forced))
    assert len(told) == report["accepted"]
    for outcome, letters in told:
        assert outcome in letters or outcome not in ("failed", "shed", "cancelled")
    assert report["dead_letters"]["kept"] == report["dead_letters"]["in_store"]
    assert not any(row["not_kept"] for row in report["nodes"].values())


def _note(told, source, path, record, outcome):
    """Note an outcome, and those of the letters that the record had when it was told."""
    with closing(open_database(path, LETTERS, create=False)) as store:
        letters = list(find_letters(store, Selection(), payloads=True))
    about = {letter.outcome for letter in letters if (letter.source, _id_of(letter)) == (source, record.id)}
    told.append((outcome.value, about))


def _id_of(letter):
    return unpack(letter.accepted_about)["id"]


def _cancel_one(engine):
    live = [t for t in engine.wiring.book.live if t.running is not None]
    if live:
        min(live, key=lambda ticket: ticket.record.id).cancel()
