"""Traces: what a real receiver gets of the records of a pipeline."""

from __future__ import annotations

import pytest
from peers.otlp_receiver import OtlpReceiver, attributes_of
from peers.scripted_server import ScriptedServer, json_reply
from service import PLAIN, served

from dagflow.compile import compile_text
from dagflow.errors import ConfigError
from dagflow.traceparent import begin_trace, is_traceparent

pytestmark = pytest.mark.anyio
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = PARENT[:-2] + "00"


@pytest.fixture
def receiver():
    """Receive for one test."""
    with OtlpReceiver() as receiver:
        yield receiver


def traced(url, more="", worker='type = "echo"'):
    """A service with traces."""
    text = PLAIN.replace('type = "echo"', worker).replace("[pipeline]", '[pipeline]\nname = "demo"')
    return f'{text}\n[tracing]\nendpoint = "{url}/v1/traces"\n{more}'


def by_name(receiver):
    """The spans, by name."""
    return {span.name: span for span in receiver.spans}


async def test_the_spans_of_a_record(receiver):
    """One for the record under the caller's, one for each stage, one for the call; the model gets its id."""
    with ScriptedServer() as server:
        worker = f'type = "openai"\nmodel = "tiny"\nbase_url = "{server.url}/v1"'
        async with served(traced(receiver.url, worker=worker)) as service:
            await service.chat(headers={"traceparent": PARENT, "x-session-id": "s", "x-request-id": "r"})
        sent = server.requests[0].headers["traceparent"]
        port = int(server.url.rpartition(":")[2])
    spans = by_name(receiver)
    assert sorted(spans) == ["answer", "ask", "chat tiny", "invoke_workflow demo"]
    root, stage, call = spans["invoke_workflow demo"], spans["ask"], spans["chat tiny"]
    assert {span.trace_id.hex() for span in spans.values()} == {PARENT[3:35]}
    assert (root.parent_span_id.hex(), stage.parent_span_id, spans["answer"].parent_span_id) == (
        PARENT[36:52],
        root.span_id,
        root.span_id,
    )
    assert call.parent_span_id == stage.span_id
    assert sent == f"00-{PARENT[3:35]}-{call.span_id.hex()}-01"
    assert (root.kind, call.kind) == (2, 3)
    assert root.start_time_unix_nano <= stage.start_time_unix_nano <= call.start_time_unix_nano + 1_000_000
    assert call.end_time_unix_nano <= stage.end_time_unix_nano + 1_000_000
    assert stage.end_time_unix_nano <= root.end_time_unix_nano
    assert attributes_of(root) == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "demo",
        "gen_ai.conversation.id": "s",
        "dagflow.record.id": "r",
        "dagflow.outcome": "delivered",
    }
    told = attributes_of(call)
    usage = (told.pop("gen_ai.usage.input_tokens"), told.pop("gen_ai.usage.output_tokens"))
    assert min(usage) > 0
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "tiny",
        "gen_ai.response.model": "tiny",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.conversation.id": "s",
        "dagflow.worker": "main",
        "server.address": "127.0.0.1",
        "server.port": port,
    }


async def test_a_streamed_record(receiver):
    """Its call lies within the stage that streams it."""
    async with served(traced(receiver.url, "sample = 1.0")) as service:
        await service.chat(stream=True)
    spans = by_name(receiver)
    assert spans["chat"].parent_span_id == spans["ask"].span_id
    assert attributes_of(spans["chat"])["gen_ai.usage.output_tokens"] == 3


async def test_over_grpc_with_headers(receiver):
    """The other protocol; a secret goes to the receiver, and nowhere else."""
    text = traced(receiver.url, 'sample = 1.0\nprotocol = "grpc"\nheaders = { x-key = "a-secret-of-ours" }')
    text = text.replace(f"{receiver.url}/v1/traces", f"http://127.0.0.1:{receiver.grpc_port}")
    async with served(text) as service:
        await service.chat()
    assert len(receiver.spans) == 4
    assert receiver.headers["x-key"] == "a-secret-of-ours"
    assert "a-secret-of-ours" not in str(service.engine.plan.effective)


async def test_what_is_kept(receiver):
    """A share of all; what whoever began the trace wants; each that failed, and each that was slow."""
    async with served(traced(receiver.url, "sample = 0.0")) as service:
        await service.chat()
        await service.chat(headers={"traceparent": UNSAMPLED})
        await service.chat(headers={"traceparent": PARENT})
    assert len(receiver.spans) == 4


async def test_what_failed_is_kept(receiver):
    """With the kind of its error, on the record, the stage and the call."""
    with ScriptedServer() as server:
        server.will(json_reply({"error": "odd"}, 400))
        worker = f'type = "openai"\nmodel = "tiny"\nbase_url = "{server.url}/v1"'
        async with served(traced(receiver.url, "sample = 0.0", worker)) as service:
            await service.chat(headers={"traceparent": UNSAMPLED})
    errors = {span.name: (attributes_of(span)["error.type"], span.status.code) for span in receiver.spans}
    assert errors == {
        "invoke_workflow demo": ("worker-refused", 2),
        "ask": ("worker-refused", 2),
        "chat tiny": ("refused", 2),
    }


async def test_what_was_slow_is_kept(receiver):
    """Longer than `slow`."""
    async with served(traced(receiver.url, 'sample = 0.0\nslow = "1us"')) as service:
        await service.chat()
    assert len(receiver.spans) == 4


async def test_a_batch_is_traced_as_well(receiver, tmp_path):
    """Its records begin traces of their own, or go on with those of their lines."""
    (tmp_path / "in.jsonl").write_text(f'{{"input": "a", "traceparent": "{PARENT}"}}\n{{"input": "b"}}\n')
    text = f"""
[pipeline]
name = "demo"
edges = [{{ from = "in", to = "out" }}]
[sources.in]
type = "jsonl"
path = "{tmp_path}/in.jsonl"
[sinks.out]
type = "null"
[tracing]
endpoint = "{receiver.url}/v1/traces"
sample = 1.0
"""
    from dagflow.engine.engine import Engine
    from dagflow.testing.alone import SILENT

    await Engine(compile_text(text), log=SILENT).run()
    roots = [span for span in receiver.spans if span.name == "invoke_workflow demo"]
    assert [root.kind for root in roots] == [1, 1]
    assert PARENT[3:35] in {root.trace_id.hex() for root in roots}
    assert len({root.trace_id for root in roots}) == 2


async def test_without_traces_of_our_own_those_of_others_are_carried_on():
    """The model's server gets what the caller sent."""
    with ScriptedServer() as server:
        text = PLAIN.replace('type = "echo"', f'type = "openai"\nmodel = "tiny"\nbase_url = "{server.url}/v1"')
        async with served(text) as service:
            await service.chat(headers={"traceparent": PARENT})
            await service.chat()
        assert [seen.headers.get("traceparent") for seen in server.requests] == [PARENT, None]


async def test_a_receiver_that_is_not_there():
    """Harms nobody."""
    async with served(traced("http://127.0.0.1:9", 'sample = 1.0\ntimeout = "100ms"')) as service:
        assert (await service.chat()).status == 200
    assert service.report["exit_code"] == 0


@pytest.mark.parametrize(
    "keys", ["sample = 2.0", 'endpoint = "nowhere"', 'protocol = "udp"', 'slow = "0s"', 'timeout = "0s"', "x = 1"]
)
def test_a_wrong_table(keys):
    """Is told before anything starts."""
    with pytest.raises(ConfigError):
        compile_text(f"{PLAIN}\n[tracing]\n{keys}")


def test_contexts():
    """A share is drawn by the trace's id; what is no context begins a new trace."""
    assert sum(begin_trace(None, 0.25).sampled for _ in range(4000)) in range(800, 1200)
    assert not any(begin_trace(None, 0.0).sampled for _ in range(100))
    assert all(begin_trace(None, 1.0).sampled for _ in range(100))
    assert begin_trace(PARENT, 0.0).sampled
    assert not begin_trace(UNSAMPLED, 1.0).sampled
    for wrong in (
        "",
        "00-0-0-0",
        PARENT.upper(),
        "ff" + PARENT[2:],
        PARENT.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
    ):
        assert not is_traceparent(wrong)
        assert begin_trace(wrong, 1.0).parent_id is None
    assert is_traceparent("cc" + PARENT[2:] + "-more")
