"""However a record ends, its caller is told: the status, whether to ask again, and nothing that is not its own."""

from __future__ import annotations

import asyncio

import pytest
from peers.scripted_server import ScriptedServer, delta, events, json_reply
from service import CHAT, PLAIN, served, until

pytestmark = pytest.mark.anyio

STAGED = """
[pipeline]
drain_timeout = "{drain}"
edges = [{{ from = "api", to = "work"{edge} }}, {{ from = "work", to = "answer" }}]
[sources.api]
type = "http"
listen = "127.0.0.1:0"
{source}
[stages.work]
{stage}
[sinks.answer]
type = "reply"
"""
SLOW = 'type = "sleep"\ndelay = "1h"'


def staged(stage, source="", edge="", drain="5s"):
    """A service with one stage."""
    return STAGED.format(stage=stage, source=source, edge=edge, drain=drain)


def asking(url=None, **keys):
    """A service that asks a model server, or a worker that fails."""
    more = "\n".join(f"{name} = {value}" for name, value in keys.items())
    where = f'type = "openai"\nmodel = "tiny"\nbase_url = "{url}/v1"' if url else 'type = "echo"\nerror_rate = 1.0'
    return PLAIN.replace('type = "echo"', f"{where}\n{more}")


@pytest.mark.parametrize(
    ("stage", "error", "retry"),
    [
        ('type = "filter"\nkeep = "false"', (422, "filtered"), "false"),
        ('type = "fail"\nerror = "bug"', (500, "bug"), "false"),
        ('type = "sleep"\ndelay = "1h"\ntimeout = "10ms"', (504, "timeout"), None),
        ('type = "template"\ntemplate = "{{ input.nothing }}"', (500, "expression"), "false"),
        ('type = "set"\nfields = { other = "1" }', (500, "no-answer"), "false"),
    ],
)
async def test_what_stages_do(stage, error, retry):
    """Filtered 422, too slow 504, anything else of the pipeline 500, in words that tell nothing of it."""
    async with served(staged(stage)) as service:
        reply = await service.chat()
    assert reply.error[0] == error[0]
    assert reply.headers.get("x-should-retry") == retry
    assert "nothing" not in reply.json["error"]["message"]


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("timeout", 504, "worker-timeout"),
        ("unavailable", 502, "worker-unavailable"),
        ("overloaded", 429, "overloaded"),
        ("context_window", 400, "context_length_exceeded"),
        ("content_policy", 400, "content_policy_violation"),
        ("protocol", 502, "worker-protocol"),
        ("refused", 400, "worker-refused"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_workers_say(kind, status, code, stream):
    """Each class has its status, which a stream has as well, since nothing was sent before."""
    async with served(asking(error=f'"{kind}"')) as service:
        reply = await service.chat(stream=stream)
    assert reply.error == (status, code)
    assert ("Retry-After" in reply.headers) is (kind == "overloaded")
    retries = {"refused": "false", "context_window": "false", "content_policy": "false", "protocol": "false"}
    assert reply.headers["x-should-retry"] == retries.get(kind, "true")


async def test_what_is_the_request_s_own_fault_is_told_in_its_words():
    """And what is that of the service is not: a wrong key of ours, an address of ours."""
    with ScriptedServer() as server:
        server.will(json_reply({"error": {"message": "Odd `top_p`."}}, 400), json_reply({"error": "who?"}, 401))
        async with served(asking(server.url)) as service:
            theirs, ours = await service.chat(top_p=9), await service.chat()
    assert theirs.status == 400
    assert "Odd `top_p`." in theirs.json["error"]["message"]
    assert ours.error == (502, "worker-refused")
    assert ours.json["error"]["message"] == "the model failed"


async def test_the_wait_that_a_model_server_asks_for_is_passed_on():
    """In both headers that clients read."""
    with ScriptedServer() as server:
        server.will(json_reply({"error": "busy"}, 429, **{"Retry-After": "7"}))
        async with served(asking(server.url)) as service:
            reply = await service.chat()
    assert reply.error == (429, "overloaded")
    assert (reply.headers["Retry-After"], reply.headers["retry-after-ms"]) == ("7", "7000")


async def test_a_spent_budget_is_not_worth_asking_again():
    """So clients are told not to."""
    keys = "prices = { input = 1e6, output = 1e6 }\nbudget = { reject = 3 }"
    text = PLAIN.replace('type = "echo"', f'type = "echo"\n{keys}')
    async with served(text) as service:
        first, second = await service.chat(), await service.chat()
    assert (first.status, first.headers["x-dagflow-cost"]) == (200, "6")
    assert second.error == (429, "insufficient_quota")
    assert second.headers["x-should-retry"] == "false"
    assert "Retry-After" not in second.headers


async def test_a_passed_deadline():
    """Is a 504, wherever the record is then; the caller names it in seconds or with a unit."""
    async with served(staged(SLOW)) as service:
        one = service.chat(headers={"x-request-timeout": "0.05"})
        another = service.chat(headers={"x-request-timeout": "60ms"})
        replies = await asyncio.gather(one, another)
    assert [reply.error for reply in replies] == [(504, "deadline")] * 2
    assert service.report["outcomes"]["expired"] == 2


async def test_the_service_s_own_deadline_is_the_latest():
    """A caller cannot ask for a later one."""
    async with served(staged(SLOW, 'request_timeout = "50ms"')) as service:
        reply = await service.chat(headers={"x-request-timeout": "1h"})
    assert reply.error == (504, "deadline")


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", ""])
async def test_a_timeout_that_is_none(value):
    """Is told, and nothing is done."""
    async with served() as service:
        reply = await service.chat(headers={"x-request-timeout": value})
    assert reply.error == (400, "invalid_value")


async def fill(service, count):
    """Ask so often, one after the other; the first one is being worked on."""
    asked = []
    for number in range(count):
        asked.append(asyncio.ensure_future(service.chat()))
        await until(lambda n=number: service.engine.report()["accepted"] + service.source._door.waiting > n)
        await until(lambda: service.engine.report()["nodes"]["work"]["busy"])
    return asked


async def test_what_an_edge_sheds():
    """Is a 429 with the time that it will take to work off what is there."""
    edge = ', capacity = 1, when_full = "drop_newest"'
    async with served(staged(SLOW, edge=edge, drain="10ms")) as service:
        waiting = await fill(service, 2)
        shed = await service.chat()
        service.engine.stop("test")
        cancelled = await asyncio.gather(*waiting)
    assert shed.error == (429, "overloaded")
    assert (int(shed.headers["Retry-After"]) >= 1, shed.headers["x-should-retry"]) == (True, "true")
    assert [reply.error for reply in cancelled] == [(503, "draining")] * 2
    assert {name: n for name, n in service.report["outcomes"].items() if n} == {"shed": 1, "cancelled": 2}


@pytest.mark.parametrize(("waiting", "most"), [("", 2), ("max_waiting = 3", 5)])
async def test_a_full_first_edge_refuses_at_the_door(waiting, most):
    """What is refused there was never accepted; `max_waiting` lets some wait."""
    async with served(staged(SLOW, waiting, ", capacity = 1", drain="10ms")) as service:
        asked = await fill(service, most)
        refused = await service.chat()
        accepted = service.engine.report()["accepted"]
        service.engine.stop("test")
        ends = await asyncio.gather(*asked)
    assert refused.error == (429, "overloaded")
    assert "Retry-After" in refused.headers
    assert {end.error for end in ends} == {(503, "draining")}
    assert accepted <= 3


async def test_a_draining_service():
    """Takes nothing more, and finishes what it has."""
    async with served(PLAIN.replace('type = "echo"', 'type = "echo"\ndelay = "200ms"')) as service:
        first = asyncio.ensure_future(service.chat())
        await until(lambda: service.engine.report()["accepted"])
        service.engine.stop("test")
        await until(lambda: service.source._door.closed)
        refused = await service.chat()
        finished = await first
    assert refused.error == (503, "draining")
    assert "Retry-After" in refused.headers
    assert finished.text == "one two three"


async def test_a_stream_that_breaks_never_looks_whole():
    """An event tells of it, and the mark of the end follows."""
    with ScriptedServer() as server:
        server.will(events(delta("one"), done=False))
        async with served(asking(server.url)) as service:
            reply = await service.chat(stream=True)
    first, error, end = reply.events
    assert first["choices"][0]["delta"]["content"] == "one"
    assert (error["error"]["code"], end) == ("worker-protocol", "[DONE]")
    assert service.report["outcomes"]["failed"] == 1


async def test_a_whole_answer_whose_stream_breaks_is_an_error():
    """It was asked for whole, though the graph streams: the parts that came are no answer."""
    with ScriptedServer() as server:
        server.will(events(delta("one"), done=False))
        async with served(asking(server.url)) as service:
            submitted = await service.ask("/v1/records", {**CHAT, "parameters": {"stream": True}})
    assert submitted.error == (502, "worker-protocol")
