"""Worker `vllm`: priorities, guided decoding, and what the server says of its load."""

from __future__ import annotations

import pytest
from alone import Clock, build, opened
from peers.models import METRICS
from peers.scripted_server import HOLD, Reply, ScriptedServer, json_reply

from dagflow import Record
from dagflow.compile import compile_text
from dagflow.embed import open_plan
from dagflow.exchange import Request
from dagflow.workers.http.load import Load, read_load
from dagflow.workers.vllm import VLLM

pytestmark = pytest.mark.anyio
OLD = """\
vllm:num_requests_running{model_name="a} b"} 1
vllm:num_requests_running{model_name="lora"} 2.0
vllm:num_requests_waiting{model_name="a} b"} 4
vllm:num_requests_swapped{model_name="a} b"} 1
vllm:gpu_cache_usage_perc{model_name="a} b"} 0.25
"""
NEW = """\
vllm:num_requests_running{engine="0",model_name="a"} 1.0
vllm:num_requests_running{engine="1",model_name="a"} 2.0
vllm:num_requests_waiting{engine="0",model_name="a"} 5.0
vllm:num_requests_waiting_by_reason{reason="x"} 99
vllm:kv_cache_usage_perc{engine="0"} 0.125
vllm:kv_cache_usage_perc{engine="1"} 0.25
"""


@pytest.fixture
def server():
    """Serve for one test."""
    with ScriptedServer() as server:
        yield server


def worker(server, clock=None, **options):
    """Build a worker that asks the server, opened for a block."""
    options = {"base_url": f"{server.url}/v1", "model": "tiny", **options}
    return opened(build(VLLM, **options), name="main", **({"clock": clock} if clock else {}))


async def test_priorities(server):
    """Only where they are asked for, and with the sign turned: the server takes the lowest first."""
    async with worker(server) as one:
        await one.infer(Request(prompt="a", priority=5))
        assert "priority" not in server.requests[-1].json
    async with worker(server, priority=True) as one:
        await one.infer(Request(prompt="a", priority=5, parameters={"priority": 9}))
        assert server.requests[-1].json["priority"] == -5


async def test_guided_decoding_is_passed_on(server):
    """With the names of any version."""
    given = {"guided_json": {"type": "object"}, "structured_outputs": {"choice": ["a"]}}
    async with worker(server) as one:
        await one.infer(Request(prompt="a", parameters=given))
    assert server.requests[-1].json.items() >= given.items()


@pytest.mark.parametrize("text", [OLD, NEW])
def test_metrics_of_old_and_new_servers(text):
    """Summed over models and engines."""
    load = read_load(f"# HELP vllm:num_requests_running 7\n{text}")
    assert load == Load(3, 5, 0.25)
    assert load.calls == 8


@pytest.mark.parametrize(
    "text", ["", "<html>", "vllm:num_requests_running{} odd\n", "vllm:num_requests_running NaN\n", "other_metric 5\n"]
)
def test_metrics_that_do_not_tell(text):
    """Nothing is known then, which is not a load of 0."""
    assert read_load(text) is None


async def test_the_hint_is_asked_for_in_the_background(server):
    """At most once an interval, and never waited for."""
    clock = Clock()
    async with worker(server, clock, load_interval="2s") as one:
        assert one.load_hint() is None
        await one._asking
        assert (one.load_hint(), len(server.requests)) == (5, 1)
        assert server.requests[0].path == "/metrics"
        clock.advance(2.0)
        server.will(Reply([METRICS.replace("3.0", "9.0").encode()]))
        assert one.load_hint() == 5
        await one._asking
        assert (one.load_hint(), len(server.requests)) == (11, 2)


async def test_a_server_that_does_not_tell(server, monkeypatch):
    """The hint is gone, and asked for again later; one question at a time, and closing does not wait for it."""
    clock = Clock()
    async with worker(server, clock) as one:
        for reply in (json_reply({}, 404), Reply([HOLD])):
            one.load_hint()
            await one._asking
            assert one.load_hint() == 5
            clock.advance(1.0)
            server.will(reply)
            with monkeypatch.context() as impatient:
                impatient.setattr("dagflow.workers.vllm._PATIENCE_S", 0.01)
                one.load_hint()
                await one._asking
            assert one.load_hint() is None
            clock.advance(1.0)
        server.will(Reply([HOLD]))
        one.load_hint()
        clock.advance(9.0)
        asking = one._asking
        one.load_hint()
        assert one._asking is asking
    assert asking.done()


async def test_a_probe_tells_the_load(server):
    """Where the server does."""
    async with worker(server) as one:
        assert await one.probe() == "model `tiny` is served; 3 running, 2 waiting, its cache 0% full"
        server.will(json_reply({"data": [{"id": "tiny"}]}), json_reply({}, 404))
        assert await one.probe() == "model `tiny` is served"


async def test_a_pool_spares_a_server_that_is_busy_with_others():
    """After the first word on the loads, calls go where there is less to do."""
    with ScriptedServer() as busy, ScriptedServer() as free:
        plan = compile_text(f"""
[pipeline]
edges = [{{ from = "in", to = "ask" }}, {{ from = "ask", to = "out" }}]
[sources.in]
type = "jsonl"
path = "-"
fields = ["prompt"]
[stages.ask]
type = "inference"
worker = "all"
[sinks.out]
type = "reply"
[workers]
all = {{ type = "pool", members = ["busy", "free"] }}
busy = {{ type = "vllm", base_url = "{busy.url}/v1", model = "tiny", load_interval = "1h" }}
free = {{ type = "vllm", base_url = "{free.url}/v1", model = "tiny", load_interval = "1h" }}
""")
        free.always["/metrics"] = Reply([METRICS.replace("3.0", "0.0").replace("2.0", "0.0").encode()])
        async with open_plan(plan) as pipeline:
            await pipeline.submit(Record({"prompt": "a"}))
            for server in (busy, free):
                await server.wait_for(lambda server: any(seen.path == "/metrics" for seen in server.requests))
            workers = [await _loaded(pipeline, name) for name in ("busy", "free")]
            assert workers == [5, 0]
            before = len(busy.requests)
            answers = [await pipeline.submit(Record({"prompt": "a"})) for _ in range(10)]
        assert {answer.record["completion"].worker for answer in answers} == {"free"}
        assert len(busy.requests) == before


async def _loaded(pipeline, name):
    """Give the load of a worker when its server's word on it has been read."""
    [plugin] = [p for p, context in pipeline._engine.wiring.plugins if context.name == name]
    await plugin._asking
    return plugin.load_hint()
