"""Priorities at work: under overload the important goes through, and the rest pays."""

from __future__ import annotations

import asyncio

from rigs import Flow, FunctionStage, ListSink, ListSource, edge_of

from dagflow.record import Record


def test_the_lowest_pay_for_the_overload():
    """Ninety records find an edge for thirty: of three classes, the highest loses nothing and goes first."""

    async def same(record):
        await asyncio.sleep(0)
        return record

    given = [Record({}, f"{n % 3}/{n}", priority=n % 3) for n in range(90)]
    plugins = {"in": ListSource(given), "s": FunctionStage(same), "out": ListSink()}
    edge = edge_of("in -> s", capacity=30, order="priority", when_full="drop_lowest")
    flow = Flow(plugins, [edge, "s -> out"])
    asyncio.run(flow.run())
    assert flow.outcomes == {"delivered": 30, "shed": 60}
    assert flow.plugins["out"].ids == [f"2/{n}" for n in range(2, 90, 3)]
