"""Live answers from a worker through `inference` and `post` to a sink, in the real engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any

import pytest
from anyio import wait_all_tasks_blocked

from dagflow.compile import compile_text
from dagflow.completion import Completion
from dagflow.embed import open_plan
from dagflow.errors import WorkerError
from dagflow.exchange import Chunk, Request
from dagflow.live_stream import LIVE_CAPACITY
from dagflow.plugin import ModelWorker, Sink
from dagflow.record import Record
from dagflow.sinks.jsonl import Jsonl
from dagflow.store.database import open_database
from dagflow.store.letters import LETTERS, Selection, find_letters
from dagflow.store.payload import unpack
from dagflow.testing import Answer, Harness, ScriptedWorker, run_text
from dagflow.testing.local import LocalRegistry

JSONL = 'type = "jsonl"\npath = "out.jsonl"\nformat = "stream"'
CARD = "Card 4111 1111 1111 1111 it is."
PLAIN = '{ from = "in", to = "model" }, { from = "model", to = "post" }, { from = "post", to = "out" }'


def text(steps: str = '{ type = "redact" }', stage: str = "", top: str = "", edges: str = PLAIN, sink: str = "") -> str:
    """A file with a live chain."""
    return f"""
[pipeline]
edges = [{edges}]
{top}
[sources.in]
type = "jsonl"
path = "-"
fields = ["prompt"]
[stages.model]
type = "inference"
worker = "main"
{stage}
[stages.post]
type = "post"
steps = [{steps}]
[sinks.out]
{JSONL}
{sink}
[workers.main]
type = "echo"
"""


PROMPTS = [{"prompt": "a"}]


def stream(file: str, folder: Path, *answers: Any, inputs: Any = PROMPTS, **more: Any) -> Any:
    """Run the file on prompts; the sink writes its file."""
    workers = {"main": ScriptedWorker(answers)}
    return run_text(file, inputs, plugins={"jsonl": Jsonl}, workers=workers, folder=folder, **more)


def lines(folder: Path) -> list[Any]:
    """What the sink wrote."""
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


def shown(folder: Path) -> str:
    """All texts that the sink wrote."""
    return "".join(line.get("text", "") for line in lines(folder))


def test_a_chain_with_post_is_live(tmp_path: Path) -> None:
    """The sink has several chunks, redacted across them, and the end."""
    run = stream(text(), tmp_path, CARD)
    assert run.outcomes == {"0": "delivered"}
    assert shown(tmp_path) == "Card [credit_card] it is."
    assert [line.get("text") for line in lines(tmp_path)] == ["Card ", "[credit_card] it is.", None]
    assert lines(tmp_path)[-1]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("edges", "sink", "live"),
    [
        (PLAIN, "", True),
        (PLAIN.replace('"post" }, {', '"post", when = "prompt" }, {'), "", False),
        (PLAIN.replace('to = "out"', 'to = "out", dead_letter = true'), "", False),
    ],
)
def test_what_is_live_depends_on_options_and_edges(tmp_path: Path, edges: str, sink: str, live: bool) -> None:
    """`format` is one of them."""
    file = text(edges=edges, sink=sink, top='[dead_letters]\npath = "letters.db"')
    for form, expected in (("stream", live), ("records", False)):
        plan = compile_text(file.replace('format = "stream"', f'format = "{form}"'), tmp_path / "pipeline.toml")
        assert plan.nodes["model"].live is expected


def test_a_stream_that_breaks_fails_its_record(tmp_path: Path) -> None:
    """What was held back is not shown, and the last line says what happened."""
    run = stream(text(), tmp_path, Answer(CARD, cut_after=3))
    assert run.outcomes == {"0": "failed"}
    assert lines(tmp_path) == [
        {"id": "0", "text": "Card "},
        {"id": "0", "error": {"code": "worker-unavailable", "node": "model"}},
    ]


def test_json_that_does_not_fit_shows_nothing_and_fails(tmp_path: Path) -> None:
    """It is known at the end only."""
    run = stream(text('{ type = "json" }'), tmp_path, "it is none")
    assert run.outcomes == {"0": "failed"}
    assert [line["error"]["code"] for line in lines(tmp_path)] == ["invalid-output"]
    run = stream(text('{ type = "json" }'), tmp_path, '{"a": "b c"}')
    assert (run.outcomes, shown(tmp_path)) == ({"0": "delivered"}, '{"a": "b c"}')


@pytest.mark.parametrize("answer", [Answer(CARD, cut_after=3), "it is none"])
def test_the_dead_letter_holds_the_fields_as_they_entered_the_model(tmp_path: Path, answer: Any) -> None:
    """A replay asks it again."""
    steps = '{ type = "redact" }, { type = "json" }'
    run = stream(text(steps, top='[dead_letters]\npath = "letters.db"'), tmp_path, answer)
    assert run.outcomes == {"0": "failed"}
    with closing(open_database(tmp_path / "letters.db", LETTERS, create=True)) as store:
        [letter] = find_letters(store, Selection(), payloads=True)
    assert (letter.node, letter.place, unpack(letter.fields)) == ("model", "out", {"prompt": "a"})


def test_a_stream_is_retried_before_its_first_chunk_only(tmp_path: Path) -> None:
    """After that something may have been shown."""
    retry = 'retry = { attempts = 3, backoff = "1ms" }'
    refused = WorkerError("unavailable", "not now", retryable=True)
    assert stream(text(stage=retry), tmp_path, refused, CARD).outcomes == {"0": "delivered"}
    assert shown(tmp_path) == "Card [credit_card] it is."
    assert stream(text(stage=retry), tmp_path, Answer(CARD, cut_after=1), CARD).outcomes == {"0": "failed"}


def test_a_stage_s_timeout_cuts_a_stream(tmp_path: Path) -> None:
    """It never ends clean."""
    answer = Answer("one two", chunk_delay_s=60)
    run = stream(text("", stage='timeout = "50ms"'), tmp_path, answer)
    assert run.outcomes == {"0": "failed"}
    assert shown(tmp_path) == "one"
    assert "error" in lines(tmp_path)[-1]


class Endless(ModelWorker):
    """Streams words without end, and tells when it was stopped."""

    given = 0
    closed = False

    async def infer(self, request: Request) -> Completion:
        """Is not asked here."""
        raise AssertionError(request)

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """Give words."""
        try:
            while True:
                Endless.given += 1
                yield Chunk(f"{request.prompt} ")
        finally:
            Endless.closed = True


class Lagging(Sink):
    """Reads one chunk, and then waits for the test."""

    forwards_live = True
    read: asyncio.Event

    async def write(self, record: Record) -> None:
        """Read one chunk."""
        async for _ in record["completion"].chunks():
            self.read.set()
            await asyncio.Event().wait()


def endless(tmp_path: Path) -> str:
    """A file whose answers have no end."""
    Endless.given, Endless.closed, Lagging.read = 0, False, asyncio.Event()
    return text('{ type = "trim" }').replace('type = "echo"', 'type = "endless"')


def test_a_sink_that_lags_holds_the_worker_back_and_a_forced_end_closes_it(tmp_path: Path) -> None:
    """The worker has given what the live completion holds, and one or two on their way."""

    async def main() -> None:
        file = (
            endless(tmp_path).replace('format = "stream"', "").replace('type = "jsonl"\npath = "out', 'type = "lag"\n#')
        )
        async with Harness(file, PROMPTS, plugins={"endless": Endless, "lag": Lagging}, folder=tmp_path) as harness:
            await Lagging.read.wait()
            await harness.wait_blocked()
            assert LIVE_CAPACITY <= Endless.given <= LIVE_CAPACITY + 2
            harness._engine.force("enough")
        assert harness.run.outcomes == {"0": "cancelled"}
        assert Endless.closed

    asyncio.run(main())


def test_a_caller_that_leaves_stops_the_worker(tmp_path: Path) -> None:
    """In mid-stream, through `post`."""

    async def main() -> None:
        file = endless(tmp_path).replace(JSONL, 'type = "reply"')
        plan = compile_text(file, tmp_path / "pipeline.toml", registry=LocalRegistry({"endless": Endless}))
        async with open_plan(plan) as pipeline:
            async with aclosing(pipeline.stream({"prompt": "a"})) as chunks:
                async for chunk in chunks:
                    assert chunk.text in ("a", " a")
                    break
            await wait_all_tasks_blocked()
            assert Endless.closed
        assert pipeline.report()["outcomes"]["cancelled"] == 1

    asyncio.run(main())


@pytest.mark.parametrize("top", ["", '[dead_letters]\npath = "letters.db"'])
def test_a_caller_gets_what_post_has_written(tmp_path: Path, top: str) -> None:
    """Also where the sink was given a copy of the record."""

    async def main() -> None:
        file = (
            text(top=top)
            .replace('type = "echo"', 'type = "echo"\nchunk_delay = "1ms"')
            .replace(JSONL, 'type = "reply"')
        )
        async with open_plan(compile_text(file, tmp_path / "pipeline.toml")) as pipeline:
            result = await pipeline.submit({"prompt": "jo@example.com here"})
            assert result.record["text"] == result.record["completion"].text == "[email] here"
            chunks = [chunk.text async for chunk in pipeline.stream({"prompt": "a b c"}, field="text")]
            assert "".join(chunks) == "a b c"

    asyncio.run(main())
