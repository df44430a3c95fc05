"""Failures that all later records would share: the run does not go on in vain."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import pytest
from rigs import Flow, ListSink, ListSource, edge_of

from dagflow.errors import WriteFailed
from dagflow.record import Outcome, Record


def closed(record: Record) -> Any:
    """Write to a pipe that nobody reads any more."""
    raise WriteFailed("stdout", BrokenPipeError())


def full(record: Record) -> Any:
    """Write to a disk that may have room again."""
    raise WriteFailed("out.jsonl", OSError(28, "No space left on device"))


def flow(write: Any, edges: list[Any] | None = None, records: Any = None, **settings: Any) -> Flow:
    """A source with a sink that fails, and a sink that does not."""
    plugins = {"in": ListSource(records or (Record({}, str(n)) for n in count())), "out": ListSink(write)}
    if edges is not None:
        plugins["other"] = ListSink()
    return Flow(plugins, edges or ["in -> out"], {"out": settings})


def test_a_closed_pipe_ends_intake_and_the_run_has_failed() -> None:
    """A source without end is stopped; what was accepted has its outcome."""
    rig = flow(closed)
    report = asyncio.run(rig.run())
    assert report["exit_code"] == 1
    assert report["stopped_by"] == "`out`: `stdout` could not be written: whoever read it has closed it"
    assert report["accepted"] == report["outcomes"]["failed"] > 0
    assert report["in_flight"] == 0


def test_a_full_disk_ends_nothing() -> None:
    """It may have room for the next record."""
    report = asyncio.run(flow(full, records=[Record({}, str(n)) for n in range(5)]).run())
    assert (report["exit_code"], report["outcomes"]["failed"]) == (65, 5)


@pytest.mark.parametrize("on_error", ["drop", "port"])
def test_a_file_that_provides_for_failures_goes_on(on_error: str) -> None:
    """Such records are not missed, or go on elsewhere."""
    edges = ["in -> out", "out.error -> other"] if on_error == "port" else None
    rig = flow(closed, edges, [Record({}, str(n)) for n in range(5)], on_error=on_error)
    report = asyncio.run(rig.run())
    assert report["stopped_by"] is None
    assert report["accepted"] == 5


def test_a_best_effort_branch_ends_no_run() -> None:
    """An onlooker that leaves is no matter of the others."""
    edges = ["in -> other", edge_of("in -> out", best_effort=True)]
    rig = flow(closed, edges, [Record({}, str(n)) for n in range(5)])
    report = asyncio.run(rig.run())
    assert (report["exit_code"], rig.outcomes) == (0, {Outcome.DELIVERED: 5})
