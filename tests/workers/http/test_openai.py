"""Worker `openai` against a scripted server: what it asks, and what it makes of the answers."""

from __future__ import annotations

import pytest
from alone import build, complaints, opened
from peers.scripted_server import CUT, Reply, ScriptedServer, delta, events, json_reply

from dagflow.completion import Completion
from dagflow.errors import WorkerError
from dagflow.exchange import Request, Usage
from dagflow.workers.openai import OpenAI

pytestmark = pytest.mark.anyio
CHAT = [{"role": "user", "content": "Why?"}]
COUNTS = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
CALL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a"'}}
MORE = {"index": 0, "function": {"arguments": ": 1}"}}


@pytest.fixture
def server():
    """Serve for one test."""
    with ScriptedServer() as server:
        yield server


def worker(server, **options):
    """Build a worker that asks the server, opened for a block."""
    return opened(build(OpenAI, **{"base_url": f"{server.url}/v1", "model": "tiny", **options}), name="main")


async def infer(server, request=None, **options):
    """Give a whole answer."""
    async with worker(server, **options) as one:
        return await one.infer(request or Request(messages=CHAT))


async def stream(server, request=None, **options):
    """Give all chunks of an answer, and the error behind them."""
    chunks = []
    async with worker(server, **options) as one:
        try:
            async for chunk in one.stream(request or Request(messages=CHAT)):
                chunks.append(chunk)
        except WorkerError as error:
            return chunks, error
    return chunks, None


async def failure(server, *replies, request=None, **options):
    """Give the error of `infer`, which must be that of `stream`."""
    server.will(*replies, *replies)
    with pytest.raises(WorkerError) as caught:
        await infer(server, request, **options)
    chunks, error = await stream(server, request, **options)
    assert (chunks, str(error), error.kind) == ([], str(caught.value), caught.value.kind)
    return caught.value


async def test_what_is_asked(server):
    """Parameters go over the body's extras, and our own keys over both; what is dagflow's stays here."""
    extra = {"seed": 1, "top_p": 0.5}
    parameters = {"seed": 2, "tools": [], "n": 1, "priority": 5, "model": "x", "stream": False, "stream_options": {}}
    request = Request(messages=CHAT, model="big", parameters=parameters, priority=3, session="s")
    asked = {"seed": 2, "top_p": 0.5, "tools": [], "n": 1, "model": "tiny", "messages": CHAT}
    server.will(json_reply({"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}))
    await infer(server, request, extra_body=extra, api_key="sk-1", extra_headers={"X-Team": "red"})
    assert server.requests[-1].path == "/v1/chat/completions"
    assert server.requests[-1].json == asked
    assert server.requests[-1].headers["Authorization"] == "Bearer sk-1"
    assert server.requests[-1].headers["X-Team"] == "red"
    server.will(events(delta(finish_reason="stop")))
    await stream(server, request, extra_body=extra)
    assert server.requests[-1].json == {**asked, "stream": True, "stream_options": {"include_usage": True}}
    assert "Authorization" not in server.requests[-1].headers


@pytest.mark.parametrize(("own", "asked", "sent"), [("own", "big", "own"), (None, "big", "big"), ("own", None, "own")])
async def test_whose_model_counts(server, own, asked, sent):
    """What the file names is asked for, whatever a caller says; where it names none, the caller chooses."""
    server.will(json_reply({"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}))
    await infer(server, Request(messages=CHAT, model=asked), model=own)
    assert server.requests[-1].json["model"] == sent


async def test_an_empty_key_is_none(server):
    """As where the environment does not have it: nothing is sent, and a server that wants one says so."""
    await infer(server, api_key="")
    assert "Authorization" not in server.requests[-1].headers
    error = await failure(server, json_reply({}, 401), api_key="", extra_headers={"X-Team": "red"})
    assert "the server demands a key (401)" in str(error)
    error = await failure(server, json_reply({}, 401), extra_headers={"api-key": "other"})
    assert "does not accept the key" in str(error)


async def test_a_large_prompt(server):
    """Images make megabytes of a chat; they go out without a warning."""
    prompt = "x" * 3_000_000
    assert (await infer(server, Request(prompt=prompt))).text == prompt


async def test_stream_usage(server):
    """It can be left out, and what the caller wants of the stream stays."""
    chunks, _ = await stream(server, stream_usage=False)
    assert "stream_options" not in server.requests[-1].json
    assert chunks[-1].usage is None
    wanted = Request(messages=CHAT, parameters={"stream_options": {"continuous_usage_stats": True}})
    await stream(server, wanted)
    assert server.requests[-1].json["stream_options"] == {"continuous_usage_stats": True, "include_usage": True}


async def test_endpoints(server):
    """A bare prompt is one user message of a chat; the other endpoint takes nothing but prompts."""
    assert (await infer(server, Request(prompt="a b"))).text == "a b"
    assert server.requests[-1].json["messages"] == [{"role": "user", "content": "a b"}]
    assert (await infer(server, Request(prompt="a b"), endpoint="completions")).text == "a b"
    assert (server.requests[-1].path, server.requests[-1].json["prompt"]) == ("/v1/completions", "a b")
    chunks, _ = await stream(server, Request(prompt="some words"), endpoint="completions")
    assert "".join(chunk.text for chunk in chunks) == "some words"
    assert 'set `endpoint = "chat"`' in str(await failure(server, endpoint="completions"))


@pytest.mark.parametrize(
    ("request_", "options", "says"),
    [
        (Request(prompt="a", parameters={"n": 2}), {}, "parameter `n` is `2`"),
        (Request(prompt="a"), {"model": None}, "set `model`"),
        (Request(), {}, "neither a prompt nor a chat"),
        (Request(prompt="a", parameters={"odd": object()}), {}, "cannot be written as JSON"),
    ],
)
async def test_what_cannot_be_asked(server, request_, options, says):
    """It is refused, and the server hears nothing of it."""
    error = await failure(server, request=request_, **options)
    assert (error.kind, server.requests) == ("refused", [])
    assert says in str(error)


async def test_a_whole_answer(server):
    """Text, usage with cached tokens, model, tool calls and reasoning."""
    message = {"content": "Because.", "reasoning_content": "Hm.", "tool_calls": [CALL], "refusal": None}
    server.will(
        json_reply({"model": "t2", "choices": [{"message": message, "finish_reason": "length"}], "usage": COUNTS})
    )
    found = await infer(server)
    assert (found.text, found.finish_reason, found.model) == ("Because.", "length", "t2")
    assert (found.usage, found.reasoning, found.tool_calls) == (Usage(9, 2, 4), "Hm.", [CALL])


@pytest.mark.parametrize("reason", ["stop", ""])
async def test_a_finish_reason_in_each_chunk(server, reason):
    """Some servers give one, or an empty one, all the time: no text is lost, and none changes its place."""
    called = delta("b", reason, tool_calls=[CALL])
    server.will(events(delta("a", reason), called, delta("c"), delta("d", "stop"), delta("")))
    chunks, _ = await stream(server)
    assert [chunk.finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    found = Completion.of(chunks)
    assert (found.text, found.tool_calls[0]["id"]) == ("abcd", CALL["id"])


async def test_counts_that_cannot_be(server):
    """They are as good as none, so that no budget gets money back."""
    counts = {"prompt_tokens": -1000, "completion_tokens": 5}
    server.will(json_reply({"choices": [{"text": "a", "finish_reason": "stop"}], "usage": counts}))
    assert (await infer(server)).usage is None
    server.will(events(delta("a", "stop"), {"choices": [], "usage": counts}))
    assert (await stream(server))[0][-1].usage is None


async def test_a_refusal_is_an_answer(server):
    """Whole or streamed: its words, and the finish reason `content_filter`."""
    server.will(json_reply({"choices": [{"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}]}))
    found = await infer(server)
    assert (found.text, found.finish_reason) == ("No.", "content_filter")
    server.will(events(delta(refusal="No"), delta(refusal="."), delta(finish_reason="stop")))
    found = Completion.of((await stream(server))[0])
    assert (found.text, found.finish_reason) == ("No.", "content_filter")


async def test_a_stream(server):
    """Empty deltas are no chunks; the last one carries the finish reason and the usage that comes behind it."""
    parts = [delta("", role="assistant"), delta("Be"), delta(reasoning="Hm"), delta("cause"), delta(".", "stop")]
    server.will(events(*parts, {"choices": [], "usage": COUNTS}))
    chunks, error = await stream(server)
    assert error is None
    assert [(c.text, c.reasoning) for c in chunks] == [("Be", ""), ("", "Hm"), ("cause", ""), (".", "")]
    assert [(c.finish_reason, c.usage) for c in chunks] == [(None, None)] * 3 + [("stop", Usage(9, 2, 4))]


async def test_tool_calls_of_a_stream(server):
    """Their pieces are joined to what a whole answer has; an odd index is left out."""
    server.will(events(delta(tool_calls=[CALL]), delta(tool_calls=[MORE]), delta(finish_reason="tool_calls")))
    found = Completion.of((await stream(server))[0])
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
    assert (found.tool_calls, found.finish_reason) == ([call], "tool_calls")
    odd = {"index": None, "id": "c2", "function": {"name": "go", "arguments": {"b": 2}}}
    server.will(events(delta(tool_calls=[odd], finish_reason="tool_calls")))
    [call] = Completion.of((await stream(server))[0]).tool_calls
    assert call["function"] == {"name": "go", "arguments": '{"b":2}'}


@pytest.mark.parametrize("end", ["usage", "done", "nothing", "cut"])
async def test_the_end_of_a_stream(server, end):
    """Behind the finish reason come usage, `[DONE]`, nothing, or a break: the answer is whole."""
    usage = {"usage": {"choices": [], "usage": COUNTS}, "cut": CUT}.get(end, b": nothing\n\n")
    server.will(events(delta("a"), delta(finish_reason="stop"), usage, done=end == "done"))
    chunks, error = await stream(server)
    assert (error, [c.text for c in chunks], chunks[-1].finish_reason) == (None, ["a", ""], "stop")
    assert chunks[-1].usage == (Usage(9, 2, 4) if end == "usage" else None)


@pytest.mark.parametrize(
    ("end", "kind", "says"),
    [
        (b"data: [DONE]\n\n", "protocol", "ended without a finish reason"),
        (b"", "protocol", "ended without a finish reason"),
        (CUT, "unavailable", "broke before the answer was complete"),
        (b'data: {"error": {"message": "busy", "code": 429}}\n\n', "overloaded", "busy"),
        (b'data: {"error": "out of memory"}\n\n', "unavailable", "out of memory"),
        (b"data: {oops\n\n", "protocol", "`{oops`"),
        (b'data: {"choices": 5}\n\n', "protocol", '`{"choices": 5}`'),
        (b'data: {"choices": [', "protocol", "cannot be read"),
    ],
)
async def test_a_stream_that_breaks(server, end, kind, says):
    """What came before it is given out; it never looks like a clean end."""
    server.will(events(delta("a"), end, done=False))
    chunks, error = await stream(server)
    assert [chunk.text for chunk in chunks] == ["a"]
    assert error.kind == kind
    assert says in str(error)


async def test_a_server_that_does_not_stream(server):
    """Its whole answer is one chunk, and an error in it is told."""
    server.will(json_reply({"choices": [{"message": {"content": "all"}, "finish_reason": "stop"}]}))
    [chunk], _ = await stream(server)
    assert (chunk.text, chunk.finish_reason) == ("all", "stop")
    server.will(Reply([b"<html>Welcome</html>"], 200, {"Content-Type": "text/html"}))
    chunks, error = await stream(server)
    assert (chunks, error.kind) == ([], "protocol")
    assert "`<html>Welcome</html>`" in str(error)


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (b"", "protocol", "cannot be read"),
        (b"<html>" + b"x" * 5000, "protocol", "<html>xxx"),
        (b'{"choices": []}', "protocol", "has no choices"),
        (b'{"choices": [{"message": {"content": "a"}}]}', "protocol", "no finish reason"),
        (b'{"choices": [{"finish_reason": "stop"}], "usage": 5}', "protocol", "its form is odd"),
        (b'{"error": {"message": "busy", "type": "overloaded_error"}}', "overloaded", "busy"),
        (b'{"error": {"message": "gone", "code": "503"}, "choices": "odd"}', "unavailable", "gone"),
    ],
)
async def test_a_whole_answer_that_is_none(server, body, kind, says):
    """It is told, in short, and never crashes."""
    server.will(Reply([body], 200, {"Content-Type": "application/json"}))
    with pytest.raises(WorkerError) as caught:
        await infer(server)
    assert caught.value.kind == kind
    assert says in str(caught.value)
    assert len(str(caught.value)) < 450


async def test_embeddings(server):
    """In batches, in the order of the texts, with the sum of the tokens."""
    async with worker(server, embed_batch=2, extra_body={"dimensions": 2}) as one:
        found = await one.embed(["a", "b b", "cccc"])
        assert await one.embed([]) == []
    assert found == [[1.0, 1.0], [3.0, 1.0], [4.0, 1.0]]
    assert (found.usage, found.model) == (Usage(4), "tiny")
    assert [seen.json["input"] for seen in server.requests] == [["a", "b b"], ["cccc"]]
    assert server.requests[0].json["dimensions"] == 2
    server.will(json_reply({"data": []}))
    async with worker(server) as one:
        with pytest.raises(WorkerError, match="asked for 1 embeddings, but the answer has 0"):
            await one.embed(["a"])


async def test_probes(server):
    """The list of models tells, or one token; what is wrong names what the server has."""
    async with worker(server) as one:
        assert await one.probe() == "model `tiny` is served"
        server.will(json_reply({"detail": "Not Found"}, 404))
        assert await one.probe() == "model `tiny` answers"
        server.will(json_reply({}, 500))
        with pytest.raises(WorkerError, match=r"the server failed \(500\)"):
            await one.probe()
    async with worker(server, model="large") as one:
        with pytest.raises(WorkerError, match="set `model` to one that it serves; the server has `tiny`"):
            await one.probe()


def test_bad_options():
    """Each is refused when the file is validated, and no secret is repeated."""
    for url in (
        "api.example.org/v1",
        "ftp://a/v1",
        "http:///v1",
        "http://a:x/v1",
        "http://a b/",
        "http://a..b/",
        f"http://{'a' * 70}.b/",
        "http://a\\b/",
    ):
        assert complaints(OpenAI, base_url=url)[0] == (
            "base_url",
            "expected a URL that begins with `http://` or `https://` and names a host",
        )
    assert "`api_key`" in complaints(OpenAI, base_url="https://me:pass@a/v1")[0][1]
    assert complaints(OpenAI, api_key="two\nlines") == [("api_key", "expected one line, without control characters")]
    assert complaints(OpenAI, extra_headers={"X Team": "a"})[0][1].startswith("expected the name of a header")
    assert complaints(OpenAI, extra_body={"stream": True})[0][1] == "`stream` is not for `extra_body`; leave it out"
    assert OpenAI.Options(base_url="http://a/v1/").base_url == "http://a/v1"
