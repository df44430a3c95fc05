"""The official Python client of OpenAI, unchanged, against a service."""

from __future__ import annotations

import asyncio
import threading

import openai
import pytest
from peers.scripted_server import HOLD, ScriptedServer, delta, events
from service import PLAIN, served, until

pytestmark = pytest.mark.anyio
MESSAGES = [{"role": "user", "content": "one two three"}]
TOKEN = "a-token-of-the-test-1"
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]


def client_of(service, **more):
    """The asynchronous client."""
    return openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key=TOKEN, **more)


def asking(url):
    """A service that asks a model server."""
    return PLAIN.replace('type = "echo"', f'type = "openai"\nmodel = "tiny"\nbase_url = "{url}/v1"')


async def test_a_chat_and_a_completion():
    """Whole, with usage."""
    async with served() as service, client_of(service) as client:
        chat = await client.chat.completions.create(model="m", messages=MESSAGES, temperature=0.5)
        completion = await client.completions.create(model="m", prompt="one two")
        models = await client.models.list()
    assert (chat.choices[0].message.content, chat.choices[0].finish_reason) == ("one two three", "stop")
    assert (chat.usage.total_tokens, chat.model) == (6, "m")
    assert completion.choices[0].text == "one two"
    assert models.data == []


async def test_streams():
    """Chunk by chunk, with the usage at the end."""
    async with served() as service, client_of(service) as client:
        options = {"include_usage": True}
        stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True, stream_options=options)
        chunks = [chunk async for chunk in stream]
        texts = [c.choices[0].text async for c in await client.completions.create(model="m", prompt="a b", stream=True)]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == "one two three"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens == 3
    assert texts == ["a", " b"]


async def test_the_synchronous_client():
    """In a thread of its own."""

    def ask(url):
        with openai.OpenAI(base_url=f"{url}/v1", api_key=TOKEN) as client:
            whole = client.chat.completions.create(model="m", messages=MESSAGES)
            stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            return whole.choices[0].message.content, "".join(c.choices[0].delta.content or "" for c in stream)

    async with served() as service:
        assert await asyncio.to_thread(ask, service.url) == ("one two three",) * 2
    assert threading.active_count() >= 1


async def test_tools():
    """Asked for, and called in a stream and in a whole answer."""
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    with ScriptedServer() as server:
        server.will(events(delta(tool_calls=[call]), delta(finish_reason="tool_calls")))
        async with served(asking(server.url)) as service, client_of(service) as client:
            asked = {"model": "m", "messages": MESSAGES, "tools": TOOLS}
            stream = await client.chat.completions.create(**asked, stream=True)
            chunks = [chunk async for chunk in stream]
        assert server.requests[0].json["tools"] == TOOLS
    calls = [c for chunk in chunks for c in chunk.choices[0].delta.tool_calls or ()]
    assert [(c.id, c.function.name, c.function.arguments) for c in calls] == [("c", "f", "{}")]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_embeddings():
    """As the client asks for them: packed in base64."""
    text = asking("URL").replace('type = "inference"', 'type = "embed"')
    with ScriptedServer() as server:
        async with served(text.replace("URL", server.url)) as service, client_of(service) as client:
            found = await client.embeddings.create(model="m", input=["a", "bcd"])
        vectors = [item.embedding for item in found.data]
    assert [len(vector) for vector in vectors] == [len(vectors[0])] * 2
    assert isinstance(vectors[0][0], float)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("unavailable", openai.InternalServerError),
        ("overloaded", openai.RateLimitError),
        ("context_window", openai.BadRequestError),
        ("timeout", openai.InternalServerError),
    ],
)
async def test_errors(kind, error):
    """Become those that the client has for them."""
    text = PLAIN.replace('type = "echo"', f'type = "echo"\nerror_rate = 1.0\nerror = "{kind}"')
    async with served(text) as service, client_of(service, max_retries=0) as client:
        for stream in (False, True):
            with pytest.raises(error) as caught:
                await client.chat.completions.create(model="m", messages=MESSAGES, stream=stream)
    assert caught.value.body["code"]


async def test_retries_follow_what_the_service_says():
    """A failure of the model is tried again, as often as the client is set to; a refusal is not."""
    for kind, times in (("unavailable", 3), ("content_policy", 1)):
        text = PLAIN.replace('type = "echo"', f'type = "echo"\nerror_rate = 1.0\nerror = "{kind}"')
        async with served(text) as service, client_of(service, max_retries=2) as client:
            with pytest.raises(openai.APIStatusError):
                await client.chat.completions.create(model="m", messages=MESSAGES)
        assert service.report["accepted"] == times


async def test_a_wrong_token():
    """Is the client's own error for that."""
    auth = '[auth]\ntokens = [{ token = "another-token-123", tenant = "a" }]'
    async with served(PLAIN + auth) as service, client_of(service) as client:
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model="m", messages=MESSAGES)


async def test_a_stream_that_breaks_raises():
    """In mid-stream, where there is no status any more."""
    with ScriptedServer() as server:
        server.will(events(delta("one"), done=False))
        async with served(asking(server.url)) as service, client_of(service, max_retries=0) as client:
            stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            with pytest.raises(openai.APIError):
                [chunk async for chunk in stream]


async def test_a_client_that_leaves():
    """Closing the stream, and cancelling the call, end the call of the model."""
    with ScriptedServer() as server:
        server.will(events(delta("one"), HOLD, done=False), events(HOLD, done=False))
        async with served(asking(server.url)) as service, client_of(service) as client:
            stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            assert (await anext(aiter(stream))).choices[0].delta.content == "one"
            await stream.close()
            await until(lambda: len(server.left) == 1)
            asked = asyncio.ensure_future(client.chat.completions.create(model="m", messages=MESSAGES))
            await until(lambda: len(server.requests) == 2)
            asked.cancel()
            await until(lambda: len(server.left) == 2)
    assert service.report["outcomes"]["cancelled"] == 2


async def test_the_client_s_timeout():
    """It leaves, and so does the record."""
    with ScriptedServer() as server:
        server.will(events(HOLD, done=False))
        timeout = 0.1
        async with served(asking(server.url)) as service, client_of(service, max_retries=0, timeout=timeout) as client:
            with pytest.raises(openai.APITimeoutError):
                await client.chat.completions.create(model="m", messages=MESSAGES)
            await until(lambda: service.engine.report()["outcomes"]["cancelled"] == 1)
