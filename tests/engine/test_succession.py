"""Another plan takes the place of the one that runs: nothing that was accepted is lost, nobody is refused for it."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from threading import Event

import pytest
from peers.scripted_server import Reply, ScriptedServer, delta
from service import CHAT, served, until

from dagflow.compile import compile_text
from dagflow.engine.engine import Engine
from dagflow.engine.succession import Succession
from dagflow.errors import NotReplaced, OpenFailed

pytestmark = pytest.mark.anyio

TEXT = """
[pipeline]
max_in_flight = 4
edges = [
    {{ from = "api", to = "mark" }},
    {{ from = "mark", to = "ask" }},
    {{ from = "ask", to = "answer" }},
    {{ from = "ask", to = "log" }},
]
[sources.api]
type = "http"
listen = "127.0.0.1:0"
[stages.mark]
type = "set"
fields = {{ plan = "'{name}'" }}
[stages.ask]
type = "inference"
worker = "main"
[sinks.answer]
type = "reply"
[sinks.log]
type = "jsonl"
path = "{path}"
fields = ["id", "plan"]
[workers.main]
type = "openai"
model = "tiny"
base_url = "{url}/v1"
"""


@pytest.fixture
def server():
    """A model server."""
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def write(server, tmp_path):
    """Compile a service that marks records with the name of its plan, asks the server, and logs to one file."""

    def write(name="old", *changes):
        text = TEXT.format(name=name, path=tmp_path / "log.jsonl", url=server.url)
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        return text

    return write


def build(plan, log=None):
    """A run whose plan can be replaced."""
    return Succession(plan, lambda plan, before: Engine(plan, before=before, log=log))


def later(*words):
    """An answer that begins with a word, and goes on when the event is set."""
    gate = Event()
    deltas = [*map(delta, words), delta(finish_reason="stop")]
    first, *others = [b"data: " + json.dumps(one).encode() + b"\n\n" for one in deltas]
    parts = [first, gate, *others, b"data: [DONE]\n\n"]
    return gate, Reply(parts, 200, {"Content-Type": "text/event-stream"})


def held():
    """An answer that comes whole when the event is set."""
    gate = Event()
    body = {"model": "tiny", "choices": [{"message": {"content": "held"}, "finish_reason": "stop"}]}
    return gate, Reply([b"", gate, json.dumps(body).encode()], 200, {"Content-Type": "application/json"})


def logged(tmp_path):
    """The plans that the lines of the log tell of."""
    return [json.loads(line)["plan"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]


async def test_records_in_flight_end_where_they_began(server, write, tmp_path):
    """What the old plan has accepted stays there; what comes later, over the same connection, goes the new way."""
    gate, reply = held()
    server.will(reply)
    async with served(write("old"), build=build) as service:
        url, run = service.url, service.engine
        first = asyncio.ensure_future(service.ask("/v1/records", CHAT))
        await until(lambda: server.requests)
        old = run.engine
        await run.replace(compile_text(write("new")))
        assert service.url == url
        assert (await service.ask("/v1/records", CHAT)).json["record"]["plan"] == "new"
        assert not old.ended.is_set()
        gate.set()
        assert (await first).json["record"]["plan"] == "old"
        await until(old.ended.is_set)
        assert (await service.ask("/v1/records", CHAT)).json["record"]["plan"] == "new"
    report = service.report
    assert report["accepted"] == report["outcomes"]["delivered"] == 3
    assert (report["in_flight"], report["exit_code"], report["replaced"]) == (0, 0, 1)
    assert logged(tmp_path) == ["new", "old", "new"]


async def test_a_stream_goes_on(server, write):
    """To its end, though another plan has taken over."""
    gate, reply = later("one", " two")
    server.will(reply)
    unlogged = '{ from = "ask", to = "log" },', '{ from = "mark", to = "log" },'
    async with served(write("old", unlogged), build=build) as service:
        asked = asyncio.ensure_future(service.chat(stream=True))
        await until(lambda: server.requests)
        await service.engine.replace(compile_text(write("new", unlogged)))
        gate.set()
        found = (await asked).events
        text = "".join(event["choices"][0]["delta"].get("content") or "" for event in found[:-1])
        assert text == "one two"


async def test_who_waits_for_acceptance_is_accepted_by_the_new_plan(server, write):
    """None of the line is refused, and who leaves it is gone."""
    gates = []
    for _ in range(4):
        gate, reply = held()
        gates.append(gate)
        server.will(reply)
    lets_wait = 'type = "http"', 'type = "http"\nmax_waiting = 9'
    async with served(write("old", lets_wait), build=build) as service:
        asked = [asyncio.ensure_future(service.ask("/v1/records", CHAT)) for _ in range(6)]
        door = service.source._door
        await until(lambda: len(server.requests) == 4 and door.waiting == 2)
        await service.engine.replace(compile_text(write("new", lets_wait)))
        await until(lambda: len(server.requests) == 6)
        for gate in gates:
            gate.set()
        plans = sorted([(await one).json["record"]["plan"] for one in asked])
        assert plans == ["new"] * 2 + ["old"] * 4


async def test_a_body_that_is_on_its_way(server, write):
    """Is answered by the plan that has taken over when it is there."""
    async with served(write(), build=build) as service:
        body = json.dumps(CHAT).encode()
        began, go_on = asyncio.Event(), asyncio.Event()

        async def pieces():
            yield body[:10]
            began.set()
            await go_on.wait()
            yield body[10:]

        url = f"{service.url}/v1/records"
        asked = asyncio.ensure_future(
            service.session.post(url, data=pieces(), headers={"Content-Type": "application/json"})
        )
        await began.wait()
        await service.engine.replace(compile_text(write("new")))
        go_on.set()
        async with await asked as response:
            told = await response.json()
            assert response.status == 200, told
            assert told["record"]["plan"] == "new"


async def test_what_is_asked_for_again(server, write):
    """Is known: records by their ids, also those that end later, and answers by their idempotency keys."""
    gate, reply = held()
    async with served(write("old"), build=build) as service:
        await service.ask("/v1/records", {**CHAT, "id": "done"})
        keyed = await service.chat(headers={"Idempotency-Key": "k"})
        server.will(reply)
        await service.ask("/v1/records", {**CHAT, "id": "flying"}, headers={"Prefer": "respond-async"})
        await until(lambda: len(server.requests) == 3)
        old = service.engine.engine
        await service.engine.replace(compile_text(write("new")))
        assert (await service.ask("/v1/records/done", method="GET")).json["record"]["plan"] == "old"
        assert (await service.ask("/v1/records/flying", method="GET")).json["status"] == "in_flight"
        gate.set()
        await until(old.ended.is_set)
        shown = (await service.ask("/v1/records/flying", method="GET")).json
        assert (shown["outcome"], shown["record"]["plan"]) == ("delivered", "old")
        again = await service.chat(headers={"Idempotency-Key": "k"})
        assert again.headers["x-dagflow-replayed"] == "true"
        assert again.text == keyed.text


async def test_what_has_not_changed_goes_over(server, write):
    """The worker and the file stay open; what the worker has counted is told once."""
    async with served(write(), build=build) as service:
        run = service.engine
        await service.chat()
        worker, sink = run.engine.wiring.workers["main"], run.engine.wiring.nodes["log"].plugin
        old = run.engine
        await run.replace(compile_text(write("new")))
        assert run.engine.wiring.workers["main"] is worker
        assert run.engine.wiring.nodes["log"].plugin is sink
        await until(old.ended.is_set)
        await service.chat()
        assert run.report()["workers"]["main"]["calls"] == 2
        calls = next(family for family in run.families() if family.name == "dagflow_worker_calls")
        assert [point.value for point in calls.points] == [2]
        accepted = next(family for family in run.families() if family.name == "dagflow_records_accepted")
        assert [point.value for point in accepted.points] == [2]
        capacity = next(family for family in run.families() if family.name == "dagflow_edge_capacity")
        assert {point.value for point in capacity.points} == {512}
    assert service.report["workers"]["main"]["calls"] == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (('fields = ["id", "plan"]', 'fields = ["id"]'), "sink `log` is there once only"),
        (("[pipeline]", '[admin]\nlisten = "127.0.0.1:0"\n[pipeline]'), r"`\[admin\]` cannot be changed"),
        (("[pipeline]", "[runtime]\nprocesses = 2\n[pipeline]"), r"`\[runtime\]` cannot be changed"),
    ],
)
async def test_what_cannot_be_changed(server, write, change, reason):
    """Is told, and nothing changes."""
    async with served(write("old"), build=build) as service:
        with pytest.raises(NotReplaced, match=reason):
            await service.engine.replace(compile_text(write("new", change)))
        assert (await service.ask("/v1/records", CHAT)).json["record"]["plan"] == "old"


async def test_sources_that_cannot_be_handed_over(write):
    """Whether they come or go."""
    text = """
    [pipeline]
    edges = [{ from = "api", to = "out" }]
    [sources.api]
    type = "generate"
    rate = "1/h"
    [sinks.out]
    type = "null"
    """
    reason = "source `api` of type `generate` cannot be handed over"
    async with served(write(), build=build) as service:
        with pytest.raises(NotReplaced, match=reason):
            await service.engine.replace(compile_text(text))
    async with served(text, build=build) as service:
        with pytest.raises(NotReplaced, match=reason):
            await service.engine.replace(compile_text(write()))


async def test_a_plan_that_cannot_be_opened(server, write, tmp_path):
    """Changes nothing: what was opened for it is closed, what it would have got stays open; the next one may come."""
    (tmp_path / "other.jsonl").mkdir()
    more = (
        ('to = "log" },', 'to = "log" },\n{ from = "ask", to = "more" }'),
        (
            "[workers.main]",
            f'[sinks.more]\ntype = "jsonl"\npath = "{tmp_path}/other.jsonl"\n[workers.main]',
        ),
    )
    async with served(write("old"), build=build) as service:
        with pytest.raises(OpenFailed, match="more"):
            await service.engine.replace(compile_text(write("new", *more)))
        assert (await service.ask("/v1/records", CHAT)).json["record"]["plan"] == "old"
        (tmp_path / "other.jsonl").rmdir()
        await service.engine.replace(compile_text(write("new", *more)))
        assert (await service.ask("/v1/records", CHAT)).json["record"]["plan"] == "new"
    assert logged(tmp_path) == ["old", "new"]


async def test_another_address(server, write):
    """The new plan listens there; who is connected to the old address is answered until the old one has drained."""
    async with served(write(), build=build) as service:
        old_url, old = service.url, service.engine.engine
        gate, reply = held()
        server.will(reply)
        held_up = asyncio.ensure_future(service.ask("/v1/records", CHAT))
        await until(lambda: server.requests)
        await service.engine.replace(compile_text(write("new", ("127.0.0.1:0", "localhost:0"))))
        assert service.url != old_url
        async with service.session.post(f"{old_url}/v1/records", json=CHAT) as response:
            assert (await response.json())["record"]["plan"] == "new"
        gate.set()
        assert (await held_up).json["record"]["plan"] == "old"
        await until(old.ended.is_set)
        assert (await service.ask("/v1/records", CHAT)).json["record"]["plan"] == "new"


async def test_again_and_again_under_load(server, write):
    """Every request has one answer, and each is of a plan that ran."""
    async with served(write("0"), build=build) as service:
        answers = []

        async def ask():
            for _ in range(40):
                answers.append(await service.ask("/v1/records", CHAT))

        asking = [asyncio.ensure_future(ask()) for _ in range(4)]
        for number in range(1, 6):
            seen = len(answers)
            await until(lambda seen=seen: len(answers) > seen + 10)
            await service.engine.replace(compile_text(write(str(number))))
        await asyncio.gather(*asking)
        assert {answer.status for answer in answers} == {200}
        plans = [int(answer.json["record"]["plan"]) for answer in answers]
        assert set(plans) == set(range(6))
        await until(lambda: len(service.engine._all()) == 1)
    report = service.report
    assert report["accepted"] == report["outcomes"]["delivered"] == 160
    assert report["nodes"]["log"]["done"] == 160


async def test_the_end_comes_while_an_old_plan_drains(server, write):
    """Both drain, and the report tells of all."""
    gate, reply = held()
    server.will(reply)
    async with served(write("old"), build=build) as service:
        first = asyncio.ensure_future(service.ask("/v1/records", CHAT))
        await until(lambda: server.requests)
        await service.engine.replace(compile_text(write("new")))
        service.engine.stop("the end")
        gate.set()
        assert (await first).json["record"]["plan"] == "old"
    assert service.report["outcomes"]["delivered"] == 1
    assert service.report["stopped_by"] == "the end"


async def test_a_drain_that_is_cut_off(server, write):
    """What the old plan could not finish is told as unfinished, in the end."""
    gate, reply = held()
    server.will(reply)
    async with served(write("old"), build=build) as service:
        first = asyncio.ensure_future(service.ask("/v1/records", CHAT))
        await until(lambda: server.requests)
        await service.engine.replace(compile_text(write("new")))
        service.engine.force("the end")
        assert (await first).status == 503
        gate.set()
    assert service.report["exit_code"] == 75
    assert len(service.report["unfinished"]) == 1


async def test_what_a_token_has_used_stays_used(server, write):
    """As long as its allowance is the same."""
    auth = '[[auth.tokens]]\ntoken = "0123456789abcdef"\ntenant = "a"\nrequests = "%s"\n[workers.main]'
    headers = {"Authorization": "Bearer 0123456789abcdef"}
    async with served(write("old", ("[workers.main]", auth % "2/h")), build=build) as service:
        assert (await service.chat(headers=headers)).status == 200
        await service.engine.replace(compile_text(write("new", ("[workers.main]", auth % "2/h"))))
        assert (await service.chat(headers=headers)).status == 200
        assert (await service.chat(headers=headers)).status == 429
        await service.engine.replace(compile_text(write("newer", ("[workers.main]", auth % "3/h"))))
        assert (await service.chat(headers=headers)).status == 200
        await service.engine.replace(
            compile_text(write("none", ("[workers.main]", auth.replace("cdef", "cdeg") % "3/h")))
        )
        assert (await service.chat(headers=headers)).status == 401


async def test_nothing_is_left_of_a_plan_that_has_drained(server, write, tmp_path):
    """However often another one takes over; dead letters of all go to one place."""
    letters = "[workers.main]", f'[dead_letters]\npath = "{tmp_path}/letters.db"\n[workers.main]'
    engines = []
    async with served(write("0", letters), build=build) as service:
        for number in range(1, 5):
            server.will(Reply([b"no answer"], 400))
            await service.ask("/v1/records", CHAT)
            engines.append(weakref.ref(service.engine.engine))
            await service.engine.replace(compile_text(write(str(number), letters)))
            assert (await service.ask("/v1/records", CHAT)).json["record"]["plan"] == str(number)
        await until(lambda: len(service.engine._all()) == 1)

        def is_forgotten():
            gc.collect()
            return not any(engine() for engine in engines)

        await until(is_forgotten)
        assert service.engine.report()["dead_letters"]["kept"] == 4
