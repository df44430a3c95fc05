"""Services in several processes: at a port that they share, and behind a parent that sends requests by session."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from peers.crews import CrewRun, balances
from peers.processes import free_port, wait_until

pytestmark = pytest.mark.anyio
FILE = """
[pipeline]
drain_timeout = "5s"
edges = [{ from = "in", to = "ask" }, { from = "ask", to = "out" }]
[sources.in]
type = "http"
listen = "127.0.0.1:PORT"
[stages.ask]
type = "inference"
worker = "main"
concurrency = 16
[sinks.out]
type = "reply"
concurrency = 16
[workers.main]
type = "echo"
delay = "DELAY"
chunk_delay = "5ms"
[runtime]
processes = 2
"""
KINDS = {"shared": FILE, "relayed": FILE.replace("concurrency = 16\n", 'concurrency = 16\naffinity = "session"\n', 1)}
both = pytest.mark.parametrize("kind", KINDS)


@asynccontextmanager
async def service(folder, kind, delay="1ms"):
    """Serve, and give a client and the run; it ends drained, with books that balance."""
    port = free_port()
    run = CrewRun(folder, KINDS[kind].replace("PORT", str(port)).replace("DELAY", delay), lines=0)
    run.start()
    try:
        listening = {"shared": 2, "relayed": 1}[kind]
        await asyncio.to_thread(wait_until, lambda: (folder / "stderr").read_text().count("listening") == listening)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            yield client, run
    finally:
        run.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(run.end)
        assert balances(run.report)
        assert not run.report["in_flight"]


def asked(text, **more):
    """The body of a request."""
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


async def ask(client, text, **headers):
    """Ask, over a connection of its own, so that the kernel chooses who answers."""
    headers = {"Connection": "close", **headers}
    async with client.post("/v1/chat/completions", json=asked(text), headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return answer.headers, (await answer.json())["choices"][0]["message"]["content"]


@both
async def test_answers_of_both(tmp_path, kind):
    """Whole and streamed, in one set of books."""
    async with service(tmp_path, kind) as (client, run):
        answers = await asyncio.gather(*(ask(client, f"hello {n}") for n in range(60)))
        assert [text for _, text in answers] == [f"hello {n}" for n in range(60)]
        assert all(headers["x-dagflow-attempts"] == "1" for headers, _ in answers)
        async with client.post("/v1/chat/completions", json=asked("one two three", stream=True)) as answer:
            events = [line[6:] async for line in answer.content if line.startswith(b"data: ")]
        assert events[-1].strip() == b"[DONE]"
        deltas = [json.loads(event)["choices"][0]["delta"].get("content", "") for event in events[:-1]]
        assert "".join(deltas) == "one two three"
        assert len(deltas) > 2
    assert run.report["outcomes"]["delivered"] == 61
    assert all(row["accepted"] > 5 for row in run.report["processes"])


@both
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves(tmp_path, kind, stream):
    """Its record is cancelled, wherever it is worked on; the drain need not wait for it."""
    async with service(tmp_path, kind, delay="0ms" if stream else "60s") as (client, run):
        text = " ".join(["word"] * 10_000)
        with suppress(TimeoutError):
            async with (
                asyncio.timeout(1),
                client.post("/v1/chat/completions", json=asked(text, stream=stream)) as answer,
            ):
                await answer.content.readany()
                answer.close()
    assert run.report["outcomes"]["cancelled"] == run.report["accepted"] == 1
    assert run.report["duration_s"] < 30


@both
async def test_what_is_asked_for_again(tmp_path, kind):
    """A record is found, and an answer repeated, whichever process a connection reaches."""
    async with service(tmp_path, kind) as (client, run):
        again = [await ask(client, "once", **{"Idempotency-Key": "k-1"}) for _ in range(12)]
        assert sum("x-dagflow-replayed" in headers for headers, _ in again) == 11
        for given in ({}, {"id": "mine-1"}, {"id": "mine-2"}, {"id": "mine-3"}):
            body = {"messages": [{"role": "user", "content": "hi"}], **given}
            headers = {"Prefer": "respond-async", "Connection": "close"}
            async with client.post("/v1/records", json=body, headers=headers) as answer:
                assert answer.status == 202, await answer.text()
                place = answer.headers["Location"]
            for _ in range(6):
                async with client.get(place, headers={"Connection": "close"}) as answer:
                    assert answer.status == 200, await answer.text()
            async with client.delete(place, headers={"Connection": "close"}) as answer:
                assert answer.status == 200
            async with client.get(place, headers={"Connection": "close"}) as answer:
                assert answer.status == 404
    assert run.report["accepted"] == 5


async def test_a_child_that_dies_under_requests(tmp_path):
    """What the parent took in is answered by its successor; nobody who asks notices."""
    async with service(tmp_path, "relayed", delay="300ms") as (client, run):
        asking = asyncio.gather(*(ask(client, f"hello {n}", **{"x-session-id": f"s{n}"}) for n in range(40)))
        await asyncio.sleep(0)
        await asyncio.to_thread(run.kill_child)
        assert [text for _, text in await asking] == [f"hello {n}" for n in range(40)]
    assert run.report["outcomes"]["delivered"] == 40


async def test_what_is_given_up_while_its_process_is_down(tmp_path):
    """Is not done once more."""
    async with service(tmp_path, "relayed", delay="60s") as (client, run):
        headers = {"Prefer": "respond-async"}
        async with client.post("/v1/records", json=asked("Say a"), headers=headers) as answer:
            place = answer.headers["Location"]
        for pid in run.children():
            os.kill(pid, signal.SIGKILL)
        async with client.delete(place) as answer:
            assert answer.status == 200
        await asyncio.to_thread(wait_until, lambda: (tmp_path / "stderr").read_text().count("a process died") == 2)
        await asyncio.to_thread(wait_until, lambda: len(run.children()) == 2)
    assert run.report["outcomes"]["cancelled"] == run.report["accepted"] == 1


async def test_a_port_that_is_taken(tmp_path):
    """Is told at the start: sharing it is for one's own processes."""
    async with service(tmp_path, "shared") as (_, run):
        (tmp_path / "second").mkdir()
        second = CrewRun(tmp_path / "second", run.file.read_text(), lines=0)
        second.start()
        assert await asyncio.to_thread(second.process.wait, 30) == 1
        assert "Address already in use" in (second.path / "stderr").read_text()


def marked(folder, name):
    """The file of a run, whose plan marks each record with its name; what is written goes to one file, too."""
    text = (folder / "p.toml").read_text()
    if "[stages.mark]" not in text:
        text = text.replace(
            '{ from = "in", to = "ask" }', '{ from = "in", to = "mark" }, { from = "mark", to = "ask" }'
        )
        text = text.replace('to = "out" }]', 'to = "out" }, { from = "mark", to = "log" }]')
        text += '[stages.mark]\ntype = "set"\nfields = { plan = "\'first\'" }\n'
        text += '[sinks.log]\ntype = "jsonl"\npath = "log.jsonl"\nfields = ["plan"]\n'
    return re.sub(r"plan = \"'\w+'\"", f"plan = \"'{name}'\"", text)


async def reload(run, text, event):
    """Have a run read another file; gives what it said of that."""
    run.write(text)
    before = (run.path / "stderr").read_text().count(event)
    run.process.send_signal(signal.SIGHUP)
    await asyncio.to_thread(wait_until, lambda: (run.path / "stderr").read_text().count(event) > before)
    return (run.path / "stderr").read_text()


async def more(found):
    """Wait until 50 more have been found."""
    seen = len(found)
    await asyncio.to_thread(wait_until, lambda: len(found) > seen + 50)


async def test_another_plan(tmp_path):
    """Takes over in both processes while requests come; none is refused, and one file gets what all write."""
    async with service(tmp_path, "shared", delay="5ms") as (client, run):
        await reload(run, marked(tmp_path, "first"), " reloaded")
        plans, stop = [], asyncio.Event()

        async def ask():
            while not stop.is_set():
                async with client.post("/v1/records", json=asked("Say a")) as answer:
                    plans.append((answer.status, (await answer.json()).get("record", {}).get("plan")))

        asking = [asyncio.ensure_future(ask()) for _ in range(8)]
        for name in ("second", "third"):
            await more(plans)
            await reload(run, marked(tmp_path, name), " reloaded")
        await more(plans)
        run.kill_child()
        await more(plans)
        stop.set()
        with suppress(aiohttp.ClientError):
            await asyncio.gather(*asking, return_exceptions=True)
    assert {status for status, _ in plans} == {200}
    assert {plan for _, plan in plans} == {"first", "second", "third"}
    assert plans[-1] == (200, "third")
    assert run.report["replaced"] == 3
    assert len(run.written("log.jsonl")) >= len(plans)


async def test_a_plan_with_another_port(tmp_path):
    """Listens there in all processes, also in one that is started later."""
    port = free_port()
    async with service(tmp_path, "shared") as (_, run):
        other = re.sub(r"127.0.0.1:\d+", f"127.0.0.1:{port}", run.file.read_text())
        await reload(run, other, " reloaded")
        await asyncio.to_thread(run.kill_child)
        listening = 5  # twice two, and once more
        stderr = tmp_path / "stderr"
        await asyncio.to_thread(wait_until, lambda: stderr.read_text().count(" listening ") == listening)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            for _ in range(20):
                await ask(client, "hello")
    assert run.report["outcomes"]["delivered"] == 20
    assert min(row["accepted"] for row in run.report["processes"]) > 0


async def test_a_plan_that_cannot_be_opened_everywhere(tmp_path):
    """Changes nothing in any process."""
    async with service(tmp_path, "shared") as (client, run):
        await reload(run, marked(tmp_path, "first"), " reloaded")
        (tmp_path / "more.jsonl").mkdir()
        broken = marked(tmp_path, "second").replace("log.jsonl", "more.jsonl").replace("[sinks.log]", "[sinks.more]")
        assert "more.jsonl" in await reload(run, broken.replace('to = "log"', 'to = "more"'), "not reloaded")
        told = marked(tmp_path, "second").replace('type = "echo"', 'type = "openai"\nmodel = "m"\nbase_url = "nowhere"')
        await reload(run, told, "not reloaded")
        for _ in range(8):
            async with client.post("/v1/records", json=asked("Say a")) as answer:
                assert (await answer.json())["record"]["plan"] == "first"


async def test_a_plan_of_sources_that_the_parent_reads(tmp_path):
    """Cannot be replaced, and says so."""
    async with service(tmp_path, "relayed") as (client, run):
        told = await reload(run, run.file.read_text(), "not reloaded")
        assert "`in` is read by the parent for all processes" in told
        async with client.post("/v1/records", json=asked("Say a")) as answer:
            assert answer.status == 200
