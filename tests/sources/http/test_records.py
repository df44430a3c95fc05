"""The native endpoint: any fields in, the record with its outcome out, now or later; and keys that bring it back."""

from __future__ import annotations

import asyncio

import pytest
import yarl
from service import PLAIN, served, until

pytestmark = pytest.mark.anyio
LATER = {"Prefer": "respond-async"}
SLOW = PLAIN.replace('type = "echo"', 'type = "echo"\ndelay = "1h"').replace(
    "[pipeline]", '[pipeline]\ndrain_timeout = "10ms"'
)
SHOUT = """
[pipeline]
edges = [{ from = "api", to = "shout" }, { from = "shout", to = "answer" }]
[sources.api]
type = "http"
listen = "127.0.0.1:0"
records = { max_entries = 2 }
fields = ["word"]
[stages.shout]
type = "set"
fields = { loud = "word | upper", told = "[id, session, priority, meta.a, meta.request_id]" }
[sinks.answer]
type = "reply"
"""


async def test_any_fields():
    """Come back with what the pipeline made of them; some keys say something of the record itself."""
    async with served(SHOUT) as service:
        body = {"word": "hi", "id": "r1", "session": "s", "priority": 2, "meta": {"a": 1}, "deadline": "5s"}
        reply = await service.ask("/v1/records", body, headers={"x-request-id": "q"})
    shown = reply.json
    assert (reply.status, shown["id"], shown["outcome"], shown["error"]) == (200, "r1", "delivered", None)
    assert shown["record"]["loud"] == "HI"
    assert shown["record"]["told"] == ["r1", "s", 2, 1, "q"]


async def test_fields_that_each_record_has():
    """Are demanded at the door; endpoints of models, which cannot give them, are not there."""
    async with served(SHOUT) as service:
        lacking = await service.ask("/v1/records", {"input": "hi"})
        chat = await service.chat()
    assert (lacking.status, lacking.json["error"]["param"]) == (400, "word")
    assert chat.error == (404, "not_found")
    assert service.report["accepted"] == 0


async def test_a_completion_comes_back_as_an_object():
    """As in the output of a sink."""
    async with served() as service:
        reply = await service.ask("/v1/records", {"input": "one two"})
    assert reply.json["record"]["completion"]["text"] == "one two"
    assert reply.json["record"]["messages"] == [{"role": "user", "content": "one two"}]


async def test_later():
    """Accepted at once; found while it is under way and after; a second one of its id is refused."""
    async with served(PLAIN.replace('type = "echo"', 'type = "echo"\ndelay = "50ms"')) as service:
        first = await service.ask("/v1/records", {"id": "r", "input": "a"}, headers=LATER)
        again = await service.ask("/v1/records", {"id": "r", "input": "a"}, headers=LATER)
        waiting = await service.ask("/v1/records/r", method="GET")
        await until(lambda: service.engine.report()["outcomes"]["delivered"] == 1)
        found = await service.ask("/v1/records/r", method="GET")
    assert (first.status, first.headers["Location"], first.json["status"]) == (202, "/v1/records/r", "in_flight")
    assert first.headers["Preference-Applied"] == "respond-async"
    assert again.error == (409, "duplicate_id")
    assert (waiting.json["status"], found.json["status"], found.json["outcome"]) == (
        "in_flight",
        "settled",
        "delivered",
    )
    assert found.json["record"]["completion"]["text"] == "a"


@pytest.mark.parametrize("name", ["a/b?c#d%20e", "\u00fc", "a\r\nX-Other: 1"])
async def test_any_name_can_be_found_again(name):
    """The place that is told is an address, whatever the caller named the record."""
    async with served() as service:
        later = await service.ask("/v1/records", {"input": "a", "id": name}, headers=LATER)
        place = yarl.URL(service.url + later.headers["Location"], encoded=True)
        async with service.session.get(place) as response:
            assert (response.status, (await response.json())["id"]) == (200, name)
    assert "X-Other" not in later.headers


async def test_a_record_is_cancelled_by_its_id():
    """Wherever it is, and forgotten."""
    async with served(SLOW) as service:
        await service.ask("/v1/records", {"id": "r", "input": "a"}, headers=LATER)
        await until(lambda: service.engine.report()["workers"]["main"]["busy"] == 1)
        gone = await service.ask("/v1/records/r", method="DELETE")
        await until(lambda: service.engine.report()["outcomes"]["cancelled"] == 1)
        again = await service.ask("/v1/records/r", method="DELETE")
    assert (gone.status, gone.json["outcome"], gone.json["record"]) == (200, "cancelled", None)
    assert gone.json["error"]["code"] == "cancelled"
    assert again.error == (404, "record_not_found")


async def test_how_a_record_ended_otherwise():
    """Is told in the answer, with the status that it would have had."""
    text = SHOUT.replace('fields = { loud = "word | upper"', 'fields = { loud = "word + 1"')
    async with served(text) as service:
        await service.ask("/v1/records", {"id": "r", "word": "a"}, headers=LATER)
        await until(lambda: service.engine.report()["outcomes"]["failed"] == 1)
        found = await service.ask("/v1/records/r", method="GET")
    assert found.json["outcome"] == "failed"
    assert found.json["error"]["status"] == 500


async def test_what_is_remembered_is_bounded():
    """The oldest that has settled goes first; what is under way does not go, and no more are taken then."""
    async with served(SHOUT) as service:
        for name in ("a", "b", "c"):
            await service.ask("/v1/records", {"id": name, "word": name}, headers=LATER)
            await until(lambda: not service.engine.report()["in_flight"])
        found = [(await service.ask(f"/v1/records/{name}", method="GET")).status for name in ("a", "b", "c")]
    assert found == [404, 200, 200]
    text = SLOW.replace('type = "http"', 'type = "http"\nrecords = { max_entries = 1 }')
    async with served(text) as service:
        replies = [await service.ask("/v1/records", {"input": "a"}, headers=LATER) for _ in range(2)]
    assert replies[0].status == 202
    assert replies[1].error == (429, "overloaded")
    assert service.report["outcomes"]["cancelled"] == service.report["accepted"]


async def test_what_is_remembered_is_forgotten():
    """After `ttl`."""
    text = SHOUT.replace("max_entries = 2", 'ttl = "1ms"')
    async with served(text) as service:
        await service.ask("/v1/records", {"id": "a", "word": "a"}, headers=LATER)
        await until(lambda: service.engine.report()["outcomes"]["delivered"] == 1)
        async with asyncio.timeout(5):
            while (await service.ask("/v1/records/a", method="GET")).status != 404:
                await asyncio.sleep(0.001)


async def test_the_same_key_brings_the_same_answer():
    """Whole or streamed, without a second record; another request under the key is told."""
    key = {"Idempotency-Key": "k"}
    async with served() as service:
        first = await service.chat(headers=key)
        again = await service.chat(headers=key)
        other = await service.chat(headers=key, model="m")
        live = await service.chat(headers={"Idempotency-Key": "l"}, stream=True)
        relived = await service.chat(headers={"Idempotency-Key": "l"}, stream=True)
    assert first.text == again.text == "one two three"
    assert again.headers["x-dagflow-replayed"] == "true"
    assert "x-dagflow-replayed" not in first.headers
    assert other.error == (422, "idempotency_mismatch")
    texts = ["".join(e["choices"][0]["delta"]["content"] for e in reply.events[:-1]) for reply in (live, relived)]
    assert texts == ["one two three"] * 2
    assert service.report["accepted"] == 2


async def test_keys_that_are_remembered_are_bounded():
    """The oldest goes first: what comes with it again is another request."""
    text = PLAIN.replace('type = "http"', 'type = "http"\nidempotency = { max_entries = 1 }')
    async with served(text) as service:
        for key in ("a", "a", "b", "a"):
            await service.chat(headers={"Idempotency-Key": key})
    assert service.report["accepted"] == 3


@pytest.mark.parametrize("stream", [False, True])
async def test_the_same_key_while_it_is_under_way(stream):
    """Both wait for one record; it goes on while one of them is left."""
    text = PLAIN.replace('type = "echo"', 'type = "echo"\ndelay = "100ms"\nchunk_delay = "10ms"')
    key = {"Idempotency-Key": "k"}
    async with served(text) as service:
        asked = [asyncio.ensure_future(service.chat(headers=key, stream=stream)) for _ in range(3)]
        await until(lambda: service.engine.report()["workers"]["main"]["busy"] == 1)
        await until(lambda: all(s.listeners == 3 for s in service.source._door.inside.values()))
        asked[0].cancel()
        replies = await asyncio.gather(*asked[1:])
    assert [reply.status for reply in replies] == [200, 200]
    assert service.report["accepted"] == service.report["outcomes"]["delivered"] == 1


async def test_the_last_of_a_key_to_leave_ends_it():
    """And the key is free again."""
    key = {"Idempotency-Key": "k"}
    async with served(SLOW) as service:
        asked = [asyncio.ensure_future(service.chat(headers=key)) for _ in range(2)]
        await until(lambda: [s.listeners for s in service.source._door.inside.values()] == [2])
        for one in asked:
            one.cancel()
        await until(lambda: service.engine.report()["outcomes"]["cancelled"] == 1)


async def test_a_key_of_what_failed_is_free():
    """So that a retry is a new attempt."""
    text = PLAIN.replace('type = "echo"', 'type = "echo"\nerror_rate = 0.5\nseed = 1')
    key = {"Idempotency-Key": "k"}
    async with served(text) as service:
        statuses = [(await service.chat(headers=key)).status for _ in range(20)]
    good = statuses.index(200)
    assert set(statuses[:good]) == {502}
    assert set(statuses[good:]) == {200}
    assert service.report["accepted"] == good + 1


async def test_a_key_that_is_too_long():
    """Is told."""
    async with served() as service:
        reply = await service.chat(headers={"Idempotency-Key": "k" * 300})
    assert reply.error == (400, "invalid_value")


async def test_sessions_and_traces():
    """The header before the body's `user`; a trace's parent is carried in `meta`."""
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    text = SHOUT.replace("[id, session, priority, meta.a, meta.request_id]", "[session, meta.traceparent]")
    async with served(text) as service:
        given = {"x-session-id": "h", "traceparent": parent}
        first = await service.ask("/v1/records", {"word": "a", "session": "b"}, headers=given)
        second = await service.ask("/v1/records", {"word": "a", "session": "b"}, headers={"traceparent": "00-0-0-0"})
    assert first.json["record"]["told"] == ["h", parent]
    assert second.json["record"]["told"] == ["b", None]
