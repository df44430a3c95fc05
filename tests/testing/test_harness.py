"""The harness runs the text of a pipeline in memory, and tells what came of each input."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar

import pytest
from broken_plugins.general import FromTheFuture

from dagflow import ConfigError, Outcome, PluginError, Record, Sink, Source, Stage, WorkerError
from dagflow.testing import GatedSink, Harness, ManualClock, ScriptedWorker, run_text

TEXT = """
[pipeline]
edges = [
  { from = "in", to = "shout", capacity = 2 },
  { from = "shout", to = "out", capacity = 1 },
]
[sources.in]
type = "jsonl"
path = "no-such-file.jsonl"
[stages.shout]
type = "shout"
[sinks.out]
type = "jsonl"
path = "no/such/folder.jsonl"
"""

CHAT = TEXT.replace('type = "shout"', 'type = "inference"\nworker = "main"').replace(
    'path = "no-such-file.jsonl"', 'path = "-"\nfields = ["prompt"]'
)
CHAT += '[workers.main]\ntype = "echo"\n'


class Shout(Stage):
    """Upper-cases the input."""

    def reads(self) -> set[str]:
        return {"input"}

    def writes(self) -> set[str]:
        return {"input"}

    async def process(self, record: Record) -> Record:
        record["input"] = record["input"].upper()
        return record


class Twice(Source):
    """Says hello twice, and remembers what it was told."""

    told: ClassVar[list] = []

    def writes(self) -> set[str]:
        return {"input"}

    async def records(self) -> AsyncIterator[Record]:
        yield Record({"input": "hello"}, "first")
        yield Record({"input": "hello"}, "second")

    def settle(self, record: Record, outcome: Outcome) -> None:
        self.told.append((record.id, outcome))


class Shelf(Sink):
    """Refuses what is empty; runs in a thread."""

    shelf: ClassVar[list] = []

    def write(self, record: Record) -> None:
        if not record["input"]:
            raise WorkerError("refused", "empty")
        self.shelf.append(record["input"])


def test_inputs_come_out_as_outputs_and_outcomes():
    """A local class is found by its type; nothing of the file's own sources and sinks is touched."""
    run = run_text(TEXT, [{"input": "a"}, Record({"input": "b"}, "mine"), {"input": 7}], plugins={"shout": Shout})
    assert [(record.id, record["input"]) for record in run.outputs["out"]] == [("0", "A"), ("mine", "B")]
    assert run.outcomes == {"0": "delivered", "mine": "delivered", "2": "failed"}
    assert {id: error.code for id, error in run.errors.items()} == {"2": "bug"}
    assert (run.report["accepted"], run.report["exit_code"]) == (3, 65)


def test_workers_stand_in_by_name():
    """The script is asked instead of the worker of the text; live answers are read to their end."""
    worker = ScriptedWorker(["fine", WorkerError("overloaded", "later")])
    run = run_text(CHAT, [{"prompt": "how are you"}, {"prompt": "and now"}], workers={"main": worker})
    assert run.outputs["out"][0]["completion"].text == "fine"
    assert run.errors["1"].kind == "overloaded"
    assert [request.prompt for request in worker.requests] == ["how are you", "and now"]


def test_a_gated_sink_shows_exact_back_pressure():
    """Two wait before the stage, one is in it, one waits behind, one is held, one waits to get in: six are taken."""

    async def main():
        gate = GatedSink()
        inputs = [{"input": str(n)} for n in range(20)]
        async with Harness(TEXT, inputs, plugins={"shout": Shout}, sinks={"out": gate}) as harness:
            await gate.wait_held(1)
            await harness.wait_blocked()
            edges = harness.report()["edges"]
            assert [edges[name]["buffered"] for name in ("in -> shout", "shout -> out")] == [2, 1]
            assert (harness.report()["accepted"], gate.held, gate.taken) == (6, 1, [])
            gate.release()
            await harness.wait_blocked()
            assert (harness.report()["accepted"], gate.held, gate.taken) == (7, 1, ["0"])
            with pytest.raises(ValueError, match="1 writes are held, so that 2 cannot be released"):
                gate.release(2)
            gate.release_all()
        assert (gate.most_held, gate.held, len(gate.taken)) == (1, 0, 20)
        return harness.run

    run = asyncio.run(main())
    assert set(run.outcomes.values()) == {"delivered"}
    assert len(run.outputs["out"]) == 20


def test_a_held_record_can_be_cancelled():
    """Who forces the end finds the gate empty."""

    async def main():
        gate = GatedSink()
        harness = Harness(TEXT, [{"input": "x"}], plugins={"shout": Shout}, sinks={"out": gate})
        with pytest.raises(ZeroDivisionError):
            await fail_within(harness, gate)
        return gate.held, harness.run.outcomes, harness.run.report["in_flight"]

    async def fail_within(harness, gate):
        async with harness:
            await gate.wait_held(1)
            raise ZeroDivisionError

    assert asyncio.run(main()) == (0, {"0": "cancelled"}, 0)


def test_a_manual_clock_moves_deadlines():
    """What waits too long on this clock expires, without any waiting here."""

    async def main():
        clock, gate = ManualClock(100.0), GatedSink()
        inputs = [Record({"input": str(n)}, deadline=None if n < 3 else 130.0) for n in range(4)]
        async with Harness(TEXT, inputs, plugins={"shout": Shout}, sinks={"out": gate}, clock=clock) as harness:
            await gate.wait_held(1)
            await harness.wait_blocked()
            clock.advance(31.0)
            gate.release_all()
        return harness.run.outcomes

    assert asyncio.run(main()) == {"0": "delivered", "1": "delivered", "2": "delivered", "3": "expired"}
    with pytest.raises(ValueError, match="cannot go back by 1 s"):
        ManualClock().advance(-1)


def test_own_sources_and_sinks_run_themselves():
    """They are only listened to; without inputs, so is every source."""
    Twice.told, Shelf.shelf = [], []
    text = TEXT.replace('type = "jsonl"\npath = "no-such-file.jsonl"', 'type = "twice"')
    text = text.replace('type = "jsonl"\npath = "no/such/folder.jsonl"', 'type = "shelf"')
    run = run_text(text, plugins={"twice": Twice, "shout": Shout, "shelf": Shelf})
    assert Shelf.shelf == ["HELLO", "HELLO"] == [record["input"] for record in run.outputs["out"]]
    assert run.outcomes == {"first": "delivered", "second": "delivered"} == dict(Twice.told)
    run = run_text(text, {"in": [{"input": ""}]}, plugins={"twice": Twice, "shout": Shout, "shelf": Shelf})
    assert (run.outcomes, run.outputs["out"]) == ({"in:0": "failed"}, [])


def test_sources_of_the_text_run_without_inputs():
    """`generate` needs no stand-in; settings are overridden as on the command line."""
    text = TEXT.replace('type = "jsonl"\npath = "no-such-file.jsonl"', 'type = "generate"')
    run = run_text(text, plugins={"shout": Shout}, overrides=["sources.in.count=2"])
    assert run.outcomes == {"in:0": "delivered", "in:1": "delivered"}


def test_several_sources_take_inputs_by_name():
    """A list could be anybody's; a source that is not named gives nothing."""
    text = TEXT.replace("edges = [", 'edges = [{ from = "more", to = "shout" },')
    text += '[sources.more]\ntype = "jsonl"\npath = "-"\n'
    run = run_text(text, {"more": [{"input": "a"}]}, plugins={"shout": Shout})
    assert run.outcomes == {"more:0": "delivered"}
    with pytest.raises(ValueError, match="several sources"):
        run_text(text, [{"input": "a"}], plugins={"shout": Shout})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"inputs": {"inn": []}}, "no source `inn`; it has in"),
        ({"workers": {"main": ScriptedWorker()}}, "no worker `main`; it has none"),
        ({"sinks": {"in": GatedSink()}}, "no sink `in`; it has out"),
    ],
)
def test_a_stand_in_for_nothing_is_refused(settings, told):
    """The message lists what there is."""
    with pytest.raises(ValueError, match=told):
        run_text(TEXT, plugins={"shout": Shout}, **settings)


def test_a_wrong_text_and_a_class_that_is_no_plugin_raise():
    """As they would from a file; a local class is looked at like an installed one."""
    with pytest.raises(ConfigError, match="no installed package offers a stage of type `shout`"):
        run_text(TEXT, [])
    with pytest.raises(TypeError, match="not a subclass"):
        run_text(TEXT, [], plugins={"shout": dict})
    with pytest.raises(ConfigError, match="written for contract 1000"):
        run_text(TEXT, [], plugins={"shout": FromTheFuture})


def test_a_local_class_comes_before_an_installed_one():
    """`jsonl` is installed as a source and as a sink; only the sink is replaced."""
    Shelf.shelf = []
    run = run_text(TEXT, [{"input": "a"}], plugins={"shout": Shout, "jsonl": FreeShelf})
    assert (Shelf.shelf, run.outcomes) == (["A"], {"0": "delivered"})


class FreeShelf(Shelf):
    """Takes the options of `jsonl`."""

    Options = type("Options", (Sink.Options,), {"__annotations__": {"path": str}})


def test_a_plugin_that_does_not_open_raises_before_the_block():
    """Its name is in the error."""

    class Shut(Shout):
        async def open(self, context):
            raise OSError("shut")

    with pytest.raises(PluginError, match="`shout` could not be opened: OSError: shut"):
        run_text(TEXT, [], plugins={"shout": Shut})
