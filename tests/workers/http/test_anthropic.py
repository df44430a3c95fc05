"""Worker `anthropic` against a scripted server: OpenAI's shape there, and back."""

from __future__ import annotations

import pytest
from alone import build, complaints, opened
from peers.scripted_server import CUT, ScriptedServer, events, json_reply

from dagflow.completion import Completion
from dagflow.errors import WorkerError
from dagflow.exchange import Request, Usage
from dagflow.workers.anthropic import Anthropic

pytestmark = pytest.mark.anyio
COUNTS = {"input_tokens": 5, "output_tokens": 1, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2}
START = {"type": "message_start", "message": {"model": "tiny", "content": [], "usage": COUNTS}}
STOP = {"type": "message_stop"}
TOOL = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}}
CALL = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}


@pytest.fixture
def server():
    """Serve for one test."""
    with ScriptedServer() as server:
        yield server


def worker(server, **options):
    """Build a worker that asks the server, opened for a block."""
    return opened(build(Anthropic, **{"base_url": f"{server.url}/v1", "model": "tiny", **options}), name="main")


async def asked(server, request, **options):
    """Give what the server is asked for a request."""
    async with worker(server, **options) as one:
        await one.infer(request)
    return server.requests[-1].json


async def stream(server, *parts, done=False):
    """Give the chunks of a scripted stream, and the error behind them."""
    server.will(events(*parts, done=done))
    chunks = []
    async with worker(server) as one:
        try:
            async for chunk in one.stream(Request(prompt="a")):
                chunks.append(chunk)
        except WorkerError as error:
            return chunks, error
    return chunks, None


def begin(block, index=0):
    """Make the event that begins a block."""
    return {"type": "content_block_start", "index": index, "content_block": block}


def piece(index=0, **delta):
    """Make the event of a piece of a block."""
    return {"type": "content_block_delta", "index": index, "delta": delta}


def end(reason, **counts):
    """Make the event that tells why the answer ends."""
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": counts}


async def test_prompts_and_keys(server):
    """A bare prompt is one user message; the key and the version stand in headers."""
    body = await asked(server, Request(prompt="a b", priority=3), api_key="sk-ant-1", max_tokens=9)
    assert body == {"model": "tiny", "max_tokens": 9, "messages": [{"role": "user", "content": "a b"}]}
    seen = server.requests[-1]
    assert (seen.path, seen.headers["x-api-key"]) == ("/v1/messages", "sk-ant-1")
    assert seen.headers["anthropic-version"] == "2023-06-01"
    assert "Authorization" not in seen.headers


async def test_parameters(server):
    """Those that have another name there get it; the others stay."""
    given = {"stop": "x", "max_completion_tokens": 5, "user": "u1", "top_k": 3, "n": 1, "temperature": None}
    body = await asked(server, Request(prompt="a", parameters=given), extra_body={"top_k": 2, "service_tier": "auto"})
    expected = {"stop_sequences": ["x"], "max_tokens": 5, "metadata": {"user_id": "u1"}, "top_k": 3}
    assert body == {
        **expected,
        "service_tier": "auto",
        "model": "tiny",
        "messages": [{"role": "user", "content": "a"}],
    }
    body = await asked(server, Request(prompt="a", parameters={"stop": ["x", "y"]}))
    assert (body["stop_sequences"], body["max_tokens"]) == (["x", "y"], 1024)


@pytest.mark.parametrize(
    ("given", "choice"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": {"type": "function", "function": {"name": "look"}}}, {"type": "tool", "name": "look"}),
        ({"tool_choice": {"type": "any"}}, {"type": "any"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
    ],
)
async def test_tools(server, given, choice):
    """They are translated, and those of Anthropic's own shape stay."""
    own = {"type": "web_search_20250305", "name": "web_search"}
    body = await asked(server, Request(prompt="a", parameters={"tools": [TOOL, own], **given}))
    assert body["tools"] == [{"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}, own]
    assert body.get("tool_choice") == choice
    assert "parallel_tool_calls" not in body


async def test_chats(server):
    """System messages move out, calls and results of tools and images are translated, results of a turn joined."""
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What?"}, image("data:image/png;base64,QUJD")]},
        {"role": "assistant", "content": "I look.", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "t1", "content": "it is 1"},
        {"role": "tool", "tool_call_id": "t2", "content": [image("https://a/b.png")]},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": "And?"},
    ]
    body = await asked(server, Request(messages=chat))
    use = {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}}
    source = {"type": "base64", "media_type": "image/png", "data": "QUJD"}
    fetched = {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}
    assert body["system"] == "Be brief.\n\nBe kind."
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "What?"}, {"type": "image", "source": source}]},
        {"role": "assistant", "content": [{"type": "text", "text": "I look."}, use]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "it is 1"},
                {"type": "tool_result", "tool_use_id": "t2", "content": [fetched]},
            ],
        },
        {"role": "user", "content": "And?"},
    ]


def image(url):
    """Make a part of a message in OpenAI's shape."""
    return {"type": "image_url", "image_url": {"url": url}}


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"role": "user", "content": [image("data:image/png,QUJD")]}, "not one in base64"),
        ({"role": "user", "content": [image(None)]}, "has no `url`"),
        ({"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "a", "arguments": "{"}}]}, "no JSON"),
        ({"role": "assistant", "tool_calls": [{"id": "1"}]}, "has no name"),
    ],
)
async def test_what_cannot_be_translated(server, message, says):
    """It is refused before anything is sent."""
    async with worker(server) as one:
        with pytest.raises(WorkerError, match=says) as caught:
            await one.infer(Request(messages=[message]))
        assert (caught.value.kind, server.requests) == ("refused", [])
        with pytest.raises(WorkerError, match="neither a prompt nor a chat"):
            await one.infer(Request())


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
    ],
)
async def test_whole_and_streamed_answers_are_the_same(server, reason, told):
    """Text, reasoning, tool calls, finish reason, and usage in which cached tokens are input."""
    content = [
        {"type": "thinking", "thinking": "Hm.", "signature": "x"},
        {"type": "text", "text": "Because."},
        {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}},
        {"type": "tool_use", "id": "t2", "name": "go", "input": {}},
    ]
    counts = {**COUNTS, "output_tokens": 7}
    server.will(json_reply({"model": "tiny", "content": content, "stop_reason": reason, "usage": counts}))
    async with worker(server) as one:
        whole = await one.infer(Request(prompt="a"))
    parts = [
        {"type": "ping"},
        START,
        begin({"type": "thinking", "thinking": ""}),
        piece(type="thinking_delta", thinking="Hm."),
        piece(type="signature_delta", signature="x"),
        begin({"type": "text", "text": ""}, 1),
        piece(1, type="text_delta", text="Beca"),
        piece(1, type="text_delta", text="use."),
        begin({"type": "tool_use", "id": "t1", "name": "look", "input": {}}, 2),
        piece(2, type="input_json_delta", partial_json=""),
        piece(2, type="input_json_delta", partial_json='{"a"'),
        piece(2, type="input_json_delta", partial_json=":1}"),
        {"type": "content_block_stop", "index": 2},
        begin({"type": "tool_use", "id": "t2", "name": "go", "input": {}}, 3),
        {"type": "content_block_stop", "index": 3},
        end(reason, output_tokens=7),
        STOP,
    ]
    chunks, error = await stream(server, *parts)
    assert error is None
    streamed = Completion.of(chunks)
    assert streamed.as_dict() == whole.as_dict()
    assert (whole.text, whole.reasoning, whole.finish_reason) == ("Because.", "Hm.", told)
    assert whole.usage == Usage(11, 7, 4)
    assert whole.tool_calls[0] == CALL
    assert whole.tool_calls[1]["function"] == {"name": "go", "arguments": "{}"}
    assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


@pytest.mark.parametrize(
    ("last", "kind", "says"),
    [
        ([STOP], "protocol", "ended without a finish reason"),
        ([], "protocol", "ended without a finish reason"),
        ([CUT], "unavailable", "broke"),
        (
            [{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}],
            "overloaded",
            "Overloaded",
        ),
    ],
)
async def test_a_stream_that_breaks(server, last, kind, says):
    """What came before it is given out."""
    chunks, error = await stream(server, START, piece(type="text_delta", text="a"), *last)
    assert ([chunk.text for chunk in chunks], error.kind) == (["a"], kind)
    assert says in str(error)


@pytest.mark.parametrize(
    ("status", "type_", "message", "kind"),
    [
        (400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", "context_window"),
        (400, "invalid_request_error", "seed: Extra inputs are not permitted", "refused"),
        (400, "invalid_request_error", "Your credit balance is too low", "refused"),
        (401, "authentication_error", "invalid x-api-key", "refused"),
        (404, "not_found_error", "model: large", "refused"),
        (413, "request_too_large", "Request exceeds the maximum size", "refused"),
        (429, "rate_limit_error", "slow down", "overloaded"),
        (500, "api_error", "Internal server error", "unavailable"),
        (529, "overloaded_error", "Overloaded", "overloaded"),
    ],
)
async def test_errors(server, status, type_, message, kind):
    """By status, type and words."""
    server.will(json_reply({"type": "error", "error": {"type": type_, "message": message}}, status))
    async with worker(server) as one:
        with pytest.raises(WorkerError) as caught:
            await one.infer(Request(prompt="a"))
    assert caught.value.kind == kind
    assert message in str(caught.value)


async def test_odd_answers(server):
    """They are told, not crashed over."""
    odd = [
        {"content": None, "stop_reason": "end_turn"},
        {"content": [], "stop_reason": None},
        {"error": {"message": "x"}},
    ]
    for value, says in zip(odd, ("no content", "no stop reason", "the server failed"), strict=True):
        server.will(json_reply(value))
        async with worker(server) as one:
            with pytest.raises(WorkerError, match=says):
                await one.infer(Request(prompt="a"))


async def test_counts_that_cannot_be(server):
    """They change nothing of what was told before, and are no usage by themselves."""
    counts = {"input_tokens": -5, "output_tokens": 1}
    server.will(json_reply({"content": [], "stop_reason": "end_turn", "usage": counts}))
    async with worker(server) as one:
        assert (await one.infer(Request(prompt="a"))).usage is None


async def test_probe_and_embeddings(server):
    """The list of models tells; there are no embeddings."""
    async with worker(server) as one:
        assert await one.probe() == "model `tiny` is served"
        with pytest.raises(WorkerError, match="no embeddings"):
            await one.embed(["a"])
    assert complaints(Anthropic, max_tokens=0)[0][0] == "max_tokens"
