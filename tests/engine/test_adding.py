"""Replays and embedded runs of a file with a checkpoint: what they add to its output stays, as does what was there."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing

import pytest
from rigs import SILENT

import dagflow
from dagflow.compile import compile_text
from dagflow.engine.checkpointing import Checkpointing
from dagflow.engine.engine import Engine
from dagflow.engine.replay import build_replay, choose_entries
from dagflow.errors import OpenFailed
from dagflow.graph.meaning import meaning_of
from dagflow.graph.plan import CheckpointPlan
from dagflow.record import Record
from dagflow.store.checkpoint import CHECKPOINT, read_positions
from dagflow.store.database import open_database
from dagflow.store.letter import Selection
from dagflow.store.shelf import choose_letters, read_page

FILE = """
[pipeline]
edges = [{ from = "in", to = "ask" }, { from = "ask", to = "out" }]
[sources.in]
type = "jsonl"
path = "in.jsonl"
fields = ["prompt"]
[stages.ask]
type = "inference"
worker = "main"
[sinks.out]
type = "jsonl"
path = "out.jsonl"
fields = ["id"]
[workers.main]
type = "echo"
error_rate = 1.0
error = "refused"
[checkpoint]
path = "checkpoint.db"
[dead_letters]
path = "letters.db"
"""


@pytest.fixture
def file(tmp_path):
    """A pipeline whose worker fails, after a run over two prompts."""
    file = tmp_path / "p.toml"
    put(file, "a", "b")
    assert run(file)["dead_letters"]["kept"] == 2
    return file


def put(file, *ids):
    """Write the input."""
    lines = [json.dumps({"id": id, "prompt": f"Say {id}"}) + "\n" for id in ids]
    (file.parent / "in.jsonl").write_text("".join(lines))


def run(file):
    """Run to the end."""
    return asyncio.run(Engine(compile_text(FILE, file), log=SILENT).run())


def replayed(file):
    """The engine of a replay of all letters; the worker is mended."""
    plan = compile_text(FILE.replace("1.0", "0.0"), file)
    path = plan.dead_letters.path
    entries, _ = choose_entries(plan, choose_letters(path, Selection(), False), False)
    plan, build = build_replay(plan, entries, lambda page: read_page(path, page))
    return build(plan)


def ids(file):
    """What stands in the output."""
    return [json.loads(line)["id"] for line in (file.parent / "out.jsonl").read_text().splitlines()]


def positions(file):
    """What the checkpoint says of the sinks."""
    with closing(open_database(file.parent / "checkpoint.db", CHECKPOINT, create=False)) as store:
        return read_positions(store)


def test_what_a_replay_added_stays(file):
    """The next run goes on behind it."""
    assert asyncio.run(replayed(file).run())["outcomes"]["delivered"] == 2
    put(file, "a", "b", "c")
    assert run(file)["accepted"] == 1
    assert ids(file) == ["a", "b"]


def test_a_replay_that_is_killed(file):
    """Nothing of it is cut off either, since no position is known meanwhile; what a killed run wrote last is."""
    output = file.parent / "out.jsonl"
    output.write_text('{"id": "to')

    async def main():
        engine = replayed(file)
        done = asyncio.ensure_future(engine.run())
        await engine.started.wait()
        assert positions(file) == {"out": None}
        assert output.read_text() == ""
        await done

    asyncio.run(main())
    assert positions(file) == {"out": {"offset": output.stat().st_size}}
    assert ids(file) == ["a", "b"]


def test_embedded(file):
    """What runs have written is not replaced, nor is what was handed in by hand cut off."""

    async def submit(id):
        async with dagflow.open(file) as pipeline:
            await pipeline.submit(Record({"prompt": "Say it"}, id))

    file.write_text(FILE.replace("1.0", "0.0"))
    assert asyncio.run(replayed(file).run())["outcomes"]["delivered"] == 2
    asyncio.run(submit("c"))
    put(file, "a", "b", "d")
    run(file)
    asyncio.run(submit("e"))
    assert ids(file) == ["a", "b", "c", "e"]


def test_beside_a_run(file):
    """It is refused, as both would go on at the same position."""

    async def main():
        meaning = meaning_of(compile_text(FILE, file))
        checkpoint = Checkpointing(CheckpointPlan(file.parent / "checkpoint.db"), meaning, False)
        await checkpoint.open([])
        with pytest.raises(OpenFailed, match="another run"):
            await replayed(file).run()
        await checkpoint.close()

    asyncio.run(main())
