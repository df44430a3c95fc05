"""Source and sink `nats` beside the client library's own loops, on a real `nats-server` with streams in files.

    python benchmarks/mesh_nats.py [--rounds 3] [--count 50000]

Both sides move the same messages: whole records of dagflow, with headers, an id to drop duplicates by, and 300 bytes of
text. Publishing: the library's `publish_async` with 256 unacknowledged messages, beside `generate -> nats`. Consuming:
its `fetch` of 256 messages, each of them acknowledged, beside `nats -> null`. The aim is 0.7 of the library.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import median, print_machine, print_table, rounds, spawn, timed

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # for the peer, which knows how to start the server

WINDOW = 256
TEXT = "x" * 300
SINK = """
[pipeline]
edges = [{{ from = "in", to = "out" }}]
[sources.in]
type = "generate"
count = {count}
input = "{text}"
[sinks.out]
type = "nats"
servers = ["{url}"]
subject = "s.x"
"""
SOURCE = """
[pipeline]
edges = [{{ from = "in", to = "out" }}]
[sources.in]
type = "nats"
servers = ["{url}"]
stream = "S"
consumer = "c"
until = "empty"
[sinks.out]
type = "null"
"""


async def publish_bare(client: Any, count: int) -> int:
    """The library's own way to publish, with a window."""
    from nats.js.client import JetStreamContext

    stream: JetStreamContext = client.jetstream(publish_async_max_pending=WINDOW)
    payload = json.dumps({"fields": {"input": TEXT, "n": 0}}).encode()
    for number in range(count):
        headers = {"Dagflow-Version": "1", "Dagflow-Id": f"in:{number}", "Nats-Msg-Id": f"pipeline:out:in:{number}"}
        await stream.publish_async("s.x", payload, headers=headers)
    await stream.publish_async_completed()
    return count


async def consume_bare(client: Any, count: int) -> int:
    """The library's own way to consume, with acknowledgements."""
    subscription = await client.jetstream().pull_subscribe("s.>", "c", stream="S")
    taken = 0
    while taken < count:
        for message in await subscription.fetch(WINDOW, timeout=5):
            await message.ack()
            taken += 1
    await client.flush()
    return taken


async def run(text: str) -> dict[str, float]:
    """Run a file, and measure it from the moment when all is connected."""
    from dagflow.compile import compile_text
    from dagflow.engine.engine import Engine

    engine = Engine(compile_text(text))
    running = asyncio.ensure_future(engine.run())
    await engine.started.wait()

    async def delivered() -> int:
        return (await running)["outcomes"]["delivered"]

    return await timed(delivered())


async def measure(variant: str, count: int) -> dict[str, float]:
    """Run one variant on a fresh server."""
    from peers.nats_client import client_of
    from peers.nats_server import NatsServer

    with tempfile.TemporaryDirectory() as folder, NatsServer(Path(folder)) as server:
        async with client_of(server) as client:
            await client.make("S", ("s.>",))
            if variant.startswith("consume"):
                await publish_bare(client.client, count)
            work = {
                "publish, library": lambda: timed(publish_bare(client.client, count)),
                "publish, dagflow": lambda: run(SINK.format(count=count, text=TEXT, url=server.url)),
                "consume, library": lambda: timed(consume_bare(client.client, count)),
                "consume, dagflow": lambda: run(SOURCE.format(url=server.url)),
            }[variant]
            found = await work()
            assert found["outputs"] == count, found
            assert await client.count("S") == count
            return found


VARIANTS = ["publish, library", "publish, dagflow", "consume, library", "consume, dagflow"]


def main() -> None:
    """Run all variants in turn, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--child")
    arguments = parser.parse_args()
    if arguments.child:
        import uvloop

        print(json.dumps(uvloop.run(measure(arguments.child, arguments.count))))
        return
    results = rounds(
        arguments.rounds, VARIANTS, lambda variant: spawn(__file__, "--child", variant, "--count", arguments.count)
    )
    print_machine()
    rows = []
    for variant in VARIANTS:
        rates = [row["outputs"] / row["wall_s"] for row in results[variant]]
        library = [row["outputs"] / row["wall_s"] for row in results[f"{variant.partition(',')[0]}, library"]]
        shares = [one / other for one, other in zip(rates, library, strict=True)]
        cpu = median(row["cpu_s"] / row["outputs"] * 1e6 for row in results[variant])
        rows.append([variant, f"{median(rates):,.0f}", f"{median(shares):.2f}", f"{cpu:.0f}"])
    print_table(["", "records/s", "of the library", "CPU us/record"], rows)


if __name__ == "__main__":
    main()
