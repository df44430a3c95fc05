"""The endpoints of models: chats, completions and embeddings, whole and streamed."""

from __future__ import annotations

import base64
import struct

import pytest
from peers.scripted_server import ScriptedServer
from service import CHAT, PLAIN, served, until

pytestmark = pytest.mark.anyio

ROUTED = """
[pipeline]
edges = [
  { from = "api.big", to = "ask" }, { from = "ask", to = "answer" },
  { from = "api", to = "say" }, { from = "say", to = "answer" },
]
[sources.api]
type = "http"
listen = "127.0.0.1:0"
models = ["small", "big"]
routes = { big = "big" }
[stages.ask]
type = "inference"
worker = "main"
[stages.say]
type = "set"
fields = { text = "'as ' ~ model ~ ' for ' ~ operation" }
[sinks.answer]
type = "reply"
[workers.main]
type = "echo"
"""
EMBEDDING = """
[pipeline]
edges = [{ from = "api", to = "embed" }, { from = "embed", to = "answer" }]
[sources.api]
type = "http"
listen = "127.0.0.1:0"
[stages.embed]
type = "embed"
worker = "main"
[sinks.answer]
type = "reply"
[workers.main]
type = "openai"
base_url = "${env:URL}"
model = "tiny"
"""


async def test_a_chat():
    """Has the form that clients read, and tells how it came about."""
    async with served() as service:
        reply = await service.chat(model="m", headers={"x-request-id": "mine-1"})
    body = reply.json
    assert reply.status == 200
    assert body.pop("id").startswith("chatcmpl-")
    assert isinstance(body.pop("created"), int)
    message = {"role": "assistant", "content": "one two three"}
    assert body == {
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6},
    }
    headers = {name.lower(): value for name, value in reply.headers.items() if name.lower().startswith("x-")}
    assert float(headers.pop("x-dagflow-queue-ms")) <= float(headers.pop("x-dagflow-overhead-ms"))
    assert headers == {
        "x-request-id": "mine-1",
        "x-dagflow-worker": "main",
        "x-dagflow-attempts": "1",
        "x-dagflow-cache": "none",
    }
    assert reply.headers["Server"] == "dagflow"
    assert service.report["outcomes"]["delivered"] == 1


async def test_a_streamed_chat():
    """Role first, text by text, why it ended, the usage if it was asked for, and a mark at the end."""
    async with served() as service:
        reply = await service.chat(model="m", stream=True, stream_options={"include_usage": True})
    *chunks, usage, end = reply.events
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": "one"},
        {"content": " two"},
        {"content": " three"},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "stop"]
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in [*chunks, usage]}) == 1
    assert (usage["choices"], usage["usage"]["total_tokens"], end) == ([], 6, "[DONE]")
    assert reply.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["x-dagflow-worker"] == "main"


@pytest.mark.parametrize("prompt", ["one two", ["one two"]])
async def test_a_completion(prompt):
    """Whole and streamed."""
    async with served() as service:
        whole = await service.ask("/v1/completions", {"prompt": prompt, "model": "m"})
        streamed = await service.ask("/v1/completions", {"prompt": prompt, "stream": True})
    assert whole.json["object"] == "text_completion"
    assert whole.json["choices"] == [{"index": 0, "text": "one two", "logprobs": None, "finish_reason": "stop"}]
    *chunks, end = streamed.events
    assert ([chunk["choices"][0]["text"] for chunk in chunks], end) == (["one", " two"], "[DONE]")


async def test_a_streamed_chat_with_a_model_of_any_name():
    """Also one that looks like what is put in its place between the texts."""
    async with served() as service:
        reply = await service.chat(stream=True, model="\u0001text\u0001")
    assert [event["choices"][0]["delta"]["content"] for event in reply.events[:2]] == ["one", " two"]


async def test_a_stream_of_what_was_made_whole():
    """Where a condition stands behind the model, the answer is whole, and comes as one chunk."""
    text = PLAIN.replace('{ from = "ask", to = "answer" }', '{ from = "ask", to = "answer", when = "completion" }')
    async with served(text) as service:
        reply = await service.chat(stream=True)
    assert [e if e == "[DONE]" else e["choices"][0]["delta"] for e in reply.events] == [
        {"role": "assistant", "content": "one two three"},
        "[DONE]",
    ]


async def test_models_choose_their_ports():
    """A model with a route leaves by its port, the others by the main output; the first one stands for none."""
    async with served(ROUTED) as service:
        replies = [await service.chat(model=model) for model in ("big", "small", None)]
        unknown = await service.chat(model="huge")
        listed = await service.ask("/v1/models", method="GET")
        one = await service.ask("/v1/models/big", method="GET")
        none = await service.ask("/v1/models/huge", method="GET")
    assert [reply.text for reply in replies] == ["one two three", "as small for chat", "as small for chat"]
    assert unknown.error == none.error == (404, "model_not_found")
    assert [model["id"] for model in listed.json["data"]] == ["small", "big"]
    assert one.json["object"] == "model"


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_embeddings(encoding):
    """In the order of the texts, as numbers or packed as the official client asks for them."""
    with ScriptedServer() as server:
        async with served(EMBEDDING, environ={"URL": f"{server.url}/v1"}) as service:
            body = {"input": ["a", "bcd"], "model": "m", "encoding_format": encoding}
            reply = await service.ask("/v1/embeddings", body)
            single = await service.ask("/v1/embeddings", {"input": "a"})
    assert reply.status == 200
    found = [item["embedding"] for item in reply.json["data"]]
    if encoding == "base64":
        found = [list(struct.unpack(f"<{len(raw) // 4}f", raw)) for raw in map(base64.b64decode, found)]
    assert len(found) == 2
    assert found[0] == pytest.approx(single.json["data"][0]["embedding"])
    assert found[0] != found[1]
    assert reply.json["usage"]["prompt_tokens"] > 0


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions", {}, "messages"),
        ("/v1/chat/completions", {"messages": []}, "messages"),
        ("/v1/chat/completions", {"messages": ["hello"]}, "messages"),
        ("/v1/chat/completions", {**CHAT, "n": 2}, "n"),
        ("/v1/chat/completions", {**CHAT, "logprobs": True}, "logprobs"),
        ("/v1/chat/completions", {**CHAT, "stream": "yes"}, "stream"),
        ("/v1/chat/completions", {**CHAT, "stream_options": []}, "stream_options"),
        ("/v1/chat/completions", {**CHAT, "model": 5}, "model"),
        ("/v1/chat/completions", {**CHAT, "priority": "high"}, "priority"),
        ("/v1/chat/completions", {**CHAT, "user": 5}, "user"),
        ("/v1/completions", {"prompt": ["a", "b"]}, "prompt"),
        ("/v1/completions", {"prompt": "a", "echo": True}, "echo"),
        ("/v1/embeddings", {"input": [[1, 2]]}, "input"),
        ("/v1/embeddings", {"input": []}, "input"),
        ("/v1/embeddings", {"input": "a", "dimensions": 5}, "dimensions"),
        ("/v1/embeddings", {"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ("/v1/embeddings", {"input": "a", "stream": True}, "stream"),
        ("/v1/records", {"meta": "x"}, "meta"),
        ("/v1/records", {"no name": 1}, "no name"),
    ],
)
async def test_what_a_body_says_wrong(path, body, param):
    """Is told with the name of the key, and never becomes a record."""
    async with served() as service:
        reply = await service.ask(path, body)
    assert reply.status == 400
    assert reply.json["error"]["param"] == param
    assert reply.headers["x-should-retry"] == "false"
    assert service.report["accepted"] == 0


async def test_parameters_go_to_the_worker():
    """All that is not ours, with the caller's own model where the worker names none."""
    text = PLAIN.replace('type = "echo"', 'type = "openai"\nbase_url = "${env:URL}"')
    with ScriptedServer() as server:
        async with served(text, environ={"URL": f"{server.url}/v1"}) as service:
            asked = {"temperature": 0.5, "seed": None, "tools": [], "user": "u", "priority": 3, "metadata": {"a": "b"}}
            reply = await service.chat(model="tiny", **asked)
            streamed = await service.chat(model="tiny", stream=True)
            await until(lambda: len(server.requests) == 2)
        whole, live = [seen.json for seen in server.requests]
    assert (reply.status, streamed.status) == (200, 200)
    assert whole == {**CHAT, "model": "tiny", "temperature": 0.5, "tools": []}
    assert live["stream"] is True
