"""Built-ins go through the same rules as the plugins of third parties."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import cache
from itertools import repeat

import aiohttp
import pytest
from peers.otlp_receiver import OtlpReceiver
from peers.scripted_server import ScriptedServer

from dagflow import Request
from dagflow.registry import BASES, Registry
from dagflow.sinks.jsonl import Jsonl
from dagflow.testing import RULES, Sample, ScriptedWorker, check_plugin

REGISTRY = Registry()
# They have no meaning alone: in the lane of real models, and with servers in tests/remote/ and tests/mesh/.
ELSEWHERE = ("llamacpp", "grpc", "kafka", "nats")
OFFERS = {
    f"{kind} {offer.name}": offer
    for kind in BASES
    for offer in REGISTRY.offers(kind)
    if offer.package == "dagflow-engine" and offer.name not in ELSEWHERE
}
HANDBOOK = "# Edges\n\nBack-pressure slows a sender down.\n"
LINES = '{"input": "one"}\n{"input": "two", "session": "s", "priority": 2, "deadline": "30s"}\nno record\n'


def lines_of(name):
    """Count the lines that stand in a file of the sample's folder."""
    return lambda folder: (folder / name).read_text().count("\n") if (folder / name).exists() else 0


# What a type needs beside its class; any other is tried with its defaults.
NEEDS = {
    "exporter otlp": {"options": lambda: {"endpoint": f"{otlp_receiver().url}/v1/metrics"}},
    "source generate": {"options": {"count": 3, "sessions": 2, "priorities": [0, 1]}},
    "source http": {"options": {"listen": "127.0.0.1:0"}, "feed": lambda source: ask(source), "patience_s": 1.0},
    "source jsonl": {"options": {"path": "in.jsonl"}, "files": {"in.jsonl": LINES}},
    "stage embed": {"options": {"worker": "main"}},
    "stage filter": {"options": {"keep": "input | length > 3"}},
    "stage inference": {"options": {"worker": "main", "parameters": {"temperature": 0.5}}},
    "stage retrieve": {"options": {"documents": "docs", "index": "index.db"}, "files": {"docs/edges.md": HANDBOOK}},
    "stage set": {"options": {"fields": {"length": "input | length"}}},
    "stage sleep": {"options": {"delay": "1ms"}},
    "stage template": {"options": {"template": "Answer: {{ input }}"}},
    "worker anthropic": {"options": {"model": "tiny"}},
    "worker openai": {"options": {"model": "tiny"}},
    "worker pool": {"options": {"members": ["one", {"worker": "two", "weight": 2}]}},
    "worker vllm": {"options": {"model": "tiny"}},
    "sink jsonl": {"options": {"path": "out.jsonl"}, "arrived": lines_of("out.jsonl")},
}


def sample(name):
    """Give the sample of a built-in."""
    offer = OFFERS[name]
    cls, needs = REGISTRY.load(offer.kind, f"{offer.package}:{offer.name}"), NEEDS.get(name, {})
    if "base_url" in cls.Options.model_fields:
        needs = {"options": {**needs["options"], "base_url": f"{model_server().url}/v1"}}
    if callable(needs.get("options")):
        needs = {"options": needs["options"]()}
    return Sample(cls, **needs)


async def ask(source):
    """Send more requests than any rule reads, and stay until they are answered."""
    body = {"messages": [{"role": "user", "content": "why?"}], "user": "u", "priority": 1}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        url = f"http://{source.address}/v1/chat/completions"

        async def one():
            with suppress(aiohttp.ClientError):
                async with session.post(url, json=body) as response:
                    await response.read()

        for _ in range(40):
            group.create_task(one())


def test_a_sink_that_streams_lines_keeps_every_rule():
    """A record has arrived when the line of its end has."""

    def ended(folder):
        path = folder / "out.jsonl"
        return path.read_text().count('"finish_reason":"stop"') if path.exists() else 0

    tried = Sample(Jsonl, options={"path": "out.jsonl", "format": "stream"}, arrived=ended)
    assert [f"{f.rule.id}: {f.breach}" for f in check_plugin(tried) if f.breach] == []


@cache
def otlp_receiver():
    """Start what takes metrics, the first time that it is needed."""
    return OtlpReceiver().__enter__()


@cache
def model_server():
    """Start the server that all workers ask, the first time that one is tried."""
    return ScriptedServer().__enter__()


@pytest.mark.parametrize("name", OFFERS)
def test_a_built_in_keeps_every_rule(name):
    """Each rule for its kind was tried, and none complains."""
    found = list(check_plugin(sample(name)))
    assert [f"{f.rule.id}: {f.breach}" for f in found if f.breach] == []
    assert len(found) == len(RULES[OFFERS[name].kind])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("source jsonl", {"path": "in.jsonl", "format": "openai-batch"}),
        ("stage template", {"messages": [{"role": "user", "content": "{{ input }}"}]}),
        ("stage post", {"steps": [{"type": "redact"}], "output": "clean"}),
        ("stage fail", {"rate": 0.5, "error": "overloaded"}),
        ("sink jsonl", {"path": "out.jsonl", "mode": "append", "template": "{{ input }}"}),
        ("sink stdout", {"format": "stream"}),
        ("stage post", {"steps": [{"type": "redact"}, {"type": "json"}]}),
        ("worker echo", {"chunk_delay": "1ms", "delay": "1ms"}),
        ("worker echo", {"error_rate": 1.0, "error": "refused"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_other_options_keep_every_rule_too(name, options):
    """What a node declares and does depends on its options."""
    plain = sample(name)
    tried = Sample(plain.cls, options=options, files=plain.files, arrived=plain.arrived)
    assert [f"{f.rule.id}: {f.breach}" for f in check_plugin(tried) if f.breach] == []


def test_needs_are_of_built_ins():
    """Nothing is described that does not exist."""
    assert NEEDS.keys() <= OFFERS.keys()
    assert len(OFFERS) >= 17


def test_a_sample_chooses_workers_and_requests():
    """What is given is used: the worker is asked, and the request is the one that is answered."""
    main, seen = ScriptedWorker(repeat("fine")), []
    inference = Sample(REGISTRY.load("stage", "inference"), options={"worker": "main"}, workers={"main": main})
    assert not [f for f in check_plugin(inference) if f.breach]
    assert main.requests

    class Noting(REGISTRY.load("worker", "echo")):
        async def infer(self, request):
            seen.append(request.text)
            return await super().infer(request)

    assert not [f for f in check_plugin(Sample(Noting, requests=[Request(prompt="only this")])) if f.breach]
    assert "only this" in seen
    assert "What is back-pressure? Answer in one sentence." not in seen
