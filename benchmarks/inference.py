"""Calls of a model server: worker `openai` against a bare aiohttp client and the OpenAI SDK, whole and streamed.

    python benchmarks/inference.py [--rounds 3]

The server runs in a process of its own and costs next to nothing (`benchmarks/model_server.py`).

  whole     requests a second at 64 and 256 at a time: a bare aiohttp client that decodes JSON; the worker alone; a
            pipeline, from `generate` by `template` and `inference` to `null`; the same with every guard on; the SDK
  streamed  chunks for each second of the client's CPU, through `inference`, `post` and a sink that writes each chunk
  first     time to the first token, one call at a time, of a server that gives it at once (the grain of a timer is
            coarser than what is measured) and then a chunk each 2 ms: what dagflow adds at the median
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure import median, print_machine, print_table, rounds, spawn, timed

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER = Path(__file__).with_name("model_server.py")
COUNT = 12_000
STREAMS, CHUNKS = 300, 500
FIRSTS, GAP_MS = 400, 2

FILE = """
[pipeline]
edges = [
  {{ from = "in", to = "prompt" }}, {{ from = "prompt", to = "ask" }}, {{ from = "ask", to = "{after}" }}{more}
]
[sources.in]
type = "generate"
count = {count}
sessions = 50
[stages.prompt]
type = "template"
template = "Say something about {{{{ n }}}}"
[stages.ask]
type = "inference"
worker = "main"
concurrency = {concurrency}
stream = {stream}
{stage}
[sinks.out]
{sink}
[workers.main]
type = "openai"
base_url = "http://127.0.0.1:{port}/v1"
model = "bench"
{worker}
"""

GUARDS = """
max_in_flight = 1000
adaptive = { max = 1000 }
limits = [{ requests = "1M/s", tokens = "1000M tokens/s" }, { requests = "1M/s", key = "session" }]
breaker = {}
prices = { input = 1.0, output = 2.0 }
budget = { warn = 1000.0, reject = 2000.0 }
total_timeout = "60s"
idle_timeout = "10s"
"""
RETRY = "retry = { attempts = 3 }"
POST = """
[stages.post]
type = "post"
"""


@contextmanager
def model_server(*arguments: object) -> Iterator[int]:
    """Run the server; give its port."""
    command = [sys.executable, str(SERVER), *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(10)


def body(stream: bool, n: int = 0) -> dict[str, Any]:
    """What the bare client asks: what the pipeline asks."""
    asked: dict[str, Any] = {"model": "bench", "messages": [{"role": "user", "content": f"Say something about {n}"}]}
    return {**asked, "stream": True, "stream_options": {"include_usage": True}} if stream else asked


async def spread(count: int, concurrency: int, ask: Any) -> int:
    """Ask so often, so many at a time."""
    numbers = iter(range(count))

    async def work() -> None:
        for n in numbers:
            await ask(n)

    await asyncio.gather(*(work() for _ in range(concurrency)))
    return count


async def bare(port: int, concurrency: int, count: int) -> int:
    """A hand-written client: one session, JSON decoded by msgspec."""
    import aiohttp
    import msgspec

    decode, url = msgspec.json.Decoder().decode, f"http://127.0.0.1:{port}/v1/chat/completions"
    encode = msgspec.json.Encoder().encode
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(n: int) -> None:
            async with session.post(url, data=encode(body(False, n)), headers=headers) as response:
                assert decode(await response.read())["choices"][0]["message"]["content"]

        return await spread(count, concurrency, ask)


async def sdk(port: int, concurrency: int, count: int) -> int:
    """The official client."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0) as client:

        async def ask(n: int) -> None:
            answer = await client.chat.completions.create(**body(False, n))
            assert answer.choices[0].message.content

        return await spread(count, concurrency, ask)


async def worker(port: int, concurrency: int, count: int) -> int:
    """The worker alone, behind its guards, as stages see it."""
    import time

    from dagflow.config.worker_tables import GuardKeys
    from dagflow.exchange import Request
    from dagflow.graph.plan import WorkerPlan
    from dagflow.inference.guarded import GuardedWorker
    from dagflow.testing.alone import SILENT, build_context, build_plugin, opened
    from dagflow.workers.openai import OpenAI

    plugin = build_plugin(OpenAI, base_url=f"http://127.0.0.1:{port}/v1", model="bench")
    async with opened(plugin, build_context("main")):
        guarded = GuardedWorker(
            WorkerPlan("main", "openai", OpenAI, plugin.options, GuardKeys()), plugin, {}, time.monotonic, SILENT
        )

        async def ask(n: int) -> None:
            assert (await guarded.infer(Request(prompt=f"Say something about {n}"))).text

        return await spread(count, concurrency, ask)


async def pipeline(port: int, concurrency: int, count: int, guards: bool = False, stream: bool = False) -> int:
    """Run a pipeline; give how many records were delivered."""
    from dagflow.compile import compile_text
    from dagflow.engine.engine import Engine

    sink = f'type = "jsonl"\npath = "{os.devnull}"\nformat = "stream"' if stream else 'type = "null"'
    text = FILE.format(
        port=port,
        count=count,
        concurrency=concurrency,
        stream=str(stream).lower(),
        worker=GUARDS if guards else "",
        stage=(RETRY if guards else "") + (POST if stream else ""),
        after="post" if stream else "out",
        more=', { from = "post", to = "out" }' if stream else "",
        sink=sink,
    )
    report = await Engine(compile_text(text)).run()
    assert report["outcomes"]["delivered"] == count, report
    return count


async def first_tokens(port: int, through_dagflow: bool) -> list[float]:
    """Times from a request to its first token, in seconds, one call at a time."""
    times: list[float] = []
    if not through_dagflow:
        import aiohttp

        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        async with aiohttp.ClientSession() as session:
            for _ in range(FIRSTS):
                began = time.perf_counter()
                async with session.post(url, json=body(True)) as response:
                    await response.content.readuntil(b"word0")
                    times.append(time.perf_counter() - began)
                    await response.read()
        return times
    text = FILE.format(
        port=port, count=1, concurrency=8, stream="true", worker="", stage=POST, after="post",
        more=', { from = "post", to = "out" }', sink='type = "reply"',
    )  # fmt: skip
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(text)
        file.flush()
        return await streamed_firsts(file.name)


async def streamed_firsts(path: str) -> list[float]:
    """The same through the pipeline of a file."""
    import dagflow

    times: list[float] = []
    async with dagflow.open(path) as running:
        for n in range(FIRSTS):
            began = time.perf_counter()
            async for chunk in running.stream(dagflow.Record({"input": "x", "n": n})):
                if chunk.text and len(times) <= n:
                    times.append(time.perf_counter() - began)
    return times


def child(variant: str) -> None:
    """Measure one variant, and print its figures."""
    name, _, size = variant.partition("-")
    concurrency = int(size or 1)

    async def measured(port: int) -> dict[str, Any]:
        if name == "first":
            plain, ours = await first_tokens(port, False), await first_tokens(port, True)
            return {"plain_s": median(plain), "ours_s": median(ours)}
        if name == "streamed":
            await pipeline(port, concurrency, 20, stream=True)
            return await timed(pipeline(port, concurrency, STREAMS, stream=True))
        run = {"bare": bare, "sdk": sdk, "worker": worker, "pipeline": pipeline}.get(name)
        if name == "guarded":
            await pipeline(port, concurrency, 500, guards=True)
            gc.freeze()
            return await timed(pipeline(port, concurrency, COUNT, guards=True))
        count = COUNT // 6 if name == "sdk" else COUNT
        await run(port, concurrency, 500)
        gc.freeze()  # what is imported is no garbage, as `dagflow run` says as well
        return await timed(run(port, concurrency, count))

    arguments = {
        "first": ("--gap-ms", GAP_MS, "--chunks", 5),
        "streamed": ("--chunks", CHUNKS),
    }.get(name, ())
    with model_server(*arguments) as port:
        print(json.dumps(asyncio.run(measured(port))))


WHOLE = [f"{name}-{size}" for size in (64, 256) for name in ("bare", "worker", "pipeline", "guarded", "sdk")]
VARIANTS = [*WHOLE, "streamed-8", "first"]


def main() -> None:
    """Run the rounds, or one child of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", choices=VARIANTS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    print_machine()
    results = rounds(options.rounds, VARIANTS, lambda variant: spawn(__file__, "--child", variant))
    rows = []
    for variant in WHOLE:
        name, _, size = variant.partition("-")
        rates = [run["outputs"] / run["wall_s"] for run in results[variant]]
        by_cpu = [run["outputs"] / run["cpu_s"] for run in results[variant]]
        plain = [run["outputs"] / run["wall_s"] for run in results[f"bare-{size}"]]
        ratio = median(mine / other for mine, other in zip(rates, plain, strict=True))
        rows.append([name, size, f"{median(rates):,.0f}", f"{median(by_cpu):,.0f}", f"{ratio:.2f}"])
    print_table(["whole", "at a time", "requests/s", "by CPU", "of bare"], rows)
    print()
    rate = median(run["outputs"] * (CHUNKS + 2) / run["cpu_s"] for run in results["streamed-8"])
    print(f"streamed: {rate:,.0f} chunks for a second of CPU, through inference, post and sink")
    added = median((run["ours_s"] - run["plain_s"]) * 1000 for run in results["first"])
    print(f"first token: {added:.2f} ms added at the median")


if __name__ == "__main__":
    main()
