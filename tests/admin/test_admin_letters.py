"""Dead letters over HTTP."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from listening import admin_at, running, until
from rigs import Flow, FunctionStage, ListSink, records

from dagflow.errors import RecordError
from dagflow.graph.plan import DeadLettersPlan
from dagflow.plugin import Source
from dagflow.sinks.reply import Reply

pytestmark = pytest.mark.anyio


class Live(Source):
    """Hands in ten records, then waits."""

    finite = False

    async def records(self):
        """Give the records, and wait."""
        for record in records(10, session="someone"):
            yield record
        await asyncio.Event().wait()


class Shop:
    """A pipeline of which every other record fails until it is mended."""

    def __init__(self, folder, sink=None, keeps=True):
        self.mended = False
        self.sink = sink or ListSink()
        plugins = {"in": Live(), "work": FunctionStage(self.work), "out": self.sink}
        letters = DeadLettersPlan(folder / "letters.db") if keeps else None
        self.flow = Flow(plugins, ["in -> work", "work -> out"], dead_letters=letters, admin=admin_at(folder))
        self.flow.plan.nodes["out"] = of_a_class(self.flow.plan.nodes["out"], type(self.sink))

    async def work(self, record):
        """Fail for odd numbers until mended."""
        if not self.mended and record["n"] % 2:
            raise RecordError("broken <b>here</b>")
        return record

    @asynccontextmanager
    async def open(self):
        """Run until the block ends; gives who asks."""
        engine = self.flow.engine()
        async with running(engine) as ask:
            await until(lambda: sum(engine.report()["outcomes"].values()) == 10)
            yield ask


def of_a_class(node, cls):
    """A node plan whose class is one, as it is of a file, and gives the plugin that is there."""
    plugin = node.build()
    return replace(node, cls=type("Same", (cls,), {"__new__": lambda _cls, _options: plugin}))


async def replayed(ask):
    """How the last replay went, once it is over."""

    async def over():
        found = (await ask.get("/dead-letters/replay"))["replay"]
        return found if found["state"] == "over" else None

    return await until(over)


async def test_letters_are_listed_in_pages(tmp_path):
    """The newest come first, or the oldest; each page says where the next one begins."""
    async with Shop(tmp_path).open() as ask:
        first = await ask.get("/dead-letters?limit=2")
        assert (first["total"], [letter["record"] for letter in first["letters"]]) == (5, ["9", "7"])
        second = await ask.get(f"/dead-letters?limit=3&after={first['next']}")
        assert ([letter["record"] for letter in second["letters"]], second["next"]) == (["5", "3", "1"], None)
        oldest = await ask.get("/dead-letters?order=oldest&limit=1")
        assert oldest["letters"][0]["record"] == "1"
        assert (await ask.get(f"/dead-letters?order=oldest&after={oldest['next']}"))["letters"][0]["record"] == "3"


async def test_filters(tmp_path):
    """They are those of `dagflow dlq`."""
    async with Shop(tmp_path).open() as ask:
        for query, total in {
            "node=work": 5,
            "node=out": 0,
            "error=record": 5,
            "error=timeout": 0,
            "since=1h": 5,
            "before=1h": 0,
            "since=2020-01-01": 5,
        }.items():
            assert (await ask.get(f"/dead-letters?{query}"))["total"] == total, query


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "since=soon", "order=random", "nod=work", "after=0", "after=1e3"]
)
async def test_wrong_queries_are_told(tmp_path, query):
    """The answer names what is wrong."""
    async with Shop(tmp_path).open() as ask:
        status, _, body = await ask(f"/dead-letters?{query}")
        assert (status, body["error"]["code"]) == (400, "wrong-request")
        assert query.partition("=")[0] in body["error"]["message"] or "soon" in body["error"]["message"]


async def test_payloads_are_told_only_to_who_asks(tmp_path):
    """Without the query, a letter has no field of its record."""
    async with Shop(tmp_path).open() as ask:
        number = (await ask.get("/dead-letters"))["letters"][0]["id"]
        head = await ask.get(f"/dead-letters/{number}")
        assert head["message"] == "broken <b>here</b>"
        assert not {"fields", "accepted", "session", "meta"} & head.keys()
        whole = await ask.get(f"/dead-letters/{number}?payload=true")
        assert (whole["fields"], whole["accepted"], whole["session"]) == ({"n": 9}, {"n": 9}, "someone")
        assert (await ask("/dead-letters/999"))[0] == 404
        assert (await ask("/dead-letters/99999999999999999999"))[0] == 404


@pytest.mark.parametrize("selection", [{"all": True}, {"node": "work"}])
async def test_replay_sends_letters_into_the_running_pipeline(tmp_path, selection):
    """Once mended, all are delivered, and the count of letters is that of the store."""
    shop = Shop(tmp_path)
    async with shop.open() as ask:
        shop.mended = True
        status, body = await ask.post("/dead-letters/replay", selection)
        assert (status, body["replay"]["total"], body["refused"]) == (202, 5, [])
        assert (await replayed(ask))["outcomes"] == {"delivered": 5}
        assert sorted(shop.sink.ids) == sorted(map(str, range(10)))
        status = await until(lambda: emptied(ask))
        assert (status["replay"]["state"], status["accepted"]) == ("over", 15)


async def emptied(ask):
    """The status, once no letter is left."""
    status = await ask.get("/status")
    return None if status["dead_letters"]["in_store"] else status


async def test_replay_of_some(tmp_path):
    """Only the letters of the given numbers are sent in."""
    shop = Shop(tmp_path)
    async with shop.open() as ask:
        shop.mended = True
        ids = [letter["id"] for letter in (await ask.get("/dead-letters"))["letters"]][:2]
        await ask.post("/dead-letters/replay", {"ids": ids, "from_start": True})
        assert (await replayed(ask))["handed_in"] == 2
        await until(lambda: count(ask, 3))


async def count(ask, total):
    """Whether there are so many letters."""
    return (await ask.get("/dead-letters"))["total"] == total


async def test_what_cannot_be_replayed_is_told(tmp_path):
    """The reasons are counted, with some of the letters."""
    shop = Shop(tmp_path)
    async with shop.open() as ask:
        assert (await ask.get("/dead-letters/replay")) == {"replay": None, "refused": []}
        del shop.flow.plan.nodes["work"]
        _, body = await ask.post("/dead-letters/replay", {"all": True})
        [refused] = body["refused"]
        assert (refused["count"], len(refused["ids"])) == (5, 5)
        assert "there is no stage or sink `work` any more" in refused["reason"]
        assert body["replay"]["total"] == 0


async def test_answers_are_not_lost_unseen(tmp_path):
    """A pipeline whose sink answers callers is replayed only if its answers may be lost."""
    shop = Shop(tmp_path, sink=Reply())
    async with shop.open() as ask:
        status, body = await ask.post("/dead-letters/replay", {"all": True})
        assert (status, body["error"]["code"]) == (409, "answers-lost")
        shop.mended = True
        assert (await ask.post("/dead-letters/replay", {"all": True, "discard_answers": True}))[0] == 202
        assert (await replayed(ask))["outcomes"] == {"delivered": 5}


async def test_purge_removes_for_good(tmp_path):
    """It needs a filter, or `all`; the count of the report follows."""
    async with Shop(tmp_path).open() as ask:
        assert (await ask.post("/dead-letters/purge", {}))[0] == 400
        ids = [letter["id"] for letter in (await ask.get("/dead-letters"))["letters"]]
        assert await ask.post("/dead-letters/purge", {"ids": ids[:2]}) == (200, {"purged": 2})
        assert (await ask.get("/status"))["dead_letters"]["in_store"] == 3
        assert await ask.post("/dead-letters/purge", {"all": True}) == (200, {"purged": 3})
        assert await count(ask, 0)


@pytest.mark.parametrize("body", [[], "x", {"ids": "1"}, {"ids": [0]}, {"everything": True}, {"limit": "5"}])
async def test_wrong_bodies_change_nothing(tmp_path, body):
    """They are refused as a whole."""
    async with Shop(tmp_path).open() as ask:
        for path in ("/dead-letters/purge", "/dead-letters/replay"):
            assert (await ask.post(path, body))[0] == 400
        assert await count(ask, 5)


async def test_a_body_that_is_no_json_or_too_large(tmp_path):
    """It is told, and nothing is done."""
    async with Shop(tmp_path).open() as ask:
        headers = {"Content-Type": "application/json"}
        assert (await ask("/dead-letters/purge", "POST", data=b"{", headers=headers))[0] == 400
        assert (await ask("/dead-letters/purge", "POST", data=b"[" * 60_000, headers=headers))[0] == 400
        odd = {"Content-Type": "application/json; charset=none"}
        assert (await ask("/dead-letters/purge", "POST", data=b"{}", headers=odd))[0] == 400
        assert (await ask(f"/dead-letters/{'1' * 5000}"))[0] == 404
        assert (await ask("/dead-letters/purge", "POST", data=b" " * 70_000, headers=headers))[0] == 413
        assert await count(ask, 5)


async def test_a_pipeline_without_letters_says_so(tmp_path):
    """There is nothing to list."""
    async with Shop(tmp_path, keeps=False).open() as ask:
        status, _, body = await ask("/dead-letters")
        assert (status, body["error"]["code"]) == (404, "no-letters")
        assert "dead_letters" not in await ask.get("/status")
