"""Edges over brokers: records per second from one end to the other, beside the client library's own loop.

    python benchmarks/mesh_edges.py [--records 20000] [--rounds 3]

Records of about 500 bytes. dagflow: `generate -> null` in one program, with the edge over the broker. The library's
own: lanes that publish JSON and await each acknowledgement, and beside them a loop that fetches, decodes and
acknowledges (Kafka: commits once a second), in one program too. Both end when the last record is out. The broker runs
beside them on the same cores, so the ratios count, and not what the broker can do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import median, print_machine, print_table

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from service import until

CAPACITY = 20_000
TEXT = "x" * 480


def file_of(name: str, table: str, count: int) -> str:
    """Give the pipeline."""
    return f"""
[pipeline]
name = "{name}"
edges = [{{ from = "in", to = "out", via = "bus", capacity = {CAPACITY} }}]
[transports.bus]
{table}
[sources.in]
type = "generate"
count = {count}
input = "{TEXT}"
[sinks.out]
type = "null"
concurrency = 256
"""


async def over_edge(text: str, count: int) -> float:
    """Run both ends of an edge, in one program; give the seconds from the first record in to the last one out."""
    from dagflow.compile import compile_text
    from dagflow.engine.engine import Engine
    from dagflow.graph.cutting import cut_plan
    from dagflow.mesh.needs import apply, needs_of

    plan = compile_text(text)
    await apply(needs_of(plan))
    start, end = (Engine(cut_plan(plan, [name])) for name in ("in", "out"))
    ending = asyncio.ensure_future(end.run())
    await until(lambda: end.started.is_set() and _takes(end))
    began = time.perf_counter()
    starting = asyncio.ensure_future(start.run())
    await until(lambda: end.wiring.book.outcomes["delivered"] >= count or ending.done())
    took = time.perf_counter() - began
    end.stop("all is there")
    await starting
    report = await ending
    assert report["outcomes"]["delivered"] == count, report["outcomes"]
    return took


def _takes(engine: Any) -> bool:
    """Whether an end has its partitions: a group takes its time to meet."""
    (inlet,) = (runner.plugin for runner in engine.wiring.sources.values())
    client = getattr(getattr(inlet, "_consumer", None), "_client", None)
    return client is None or bool(client.assignment())


async def lanes(count: int, width: int, publish: Any) -> None:
    """Publish from many lanes, each of which waits for its acknowledgements."""
    numbers = iter(range(count))

    async def lane() -> None:
        for number in numbers:
            await publish(json.dumps({"id": f"in:{number}", "input": TEXT, "n": number}).encode())

    await asyncio.gather(*(lane() for _ in range(width)))


async def own_nats(server: Any, count: int, number: int) -> float:
    """The loop of nats-py."""
    from peers.nats_client import client_of

    async with client_of(server) as client:
        stream = f"own{number}"
        about = {"retention": "workqueue", "discard": "new", "max_msgs": CAPACITY}
        await client.make(stream, (f"{stream}.>",), **about)
        subscription = await client.js.pull_subscribe(f"{stream}.x", "c", stream=stream)

        async def consume() -> None:
            seen = 0
            while seen < count:
                for message in await subscription.fetch(256, timeout=20):
                    json.loads(message.data)
                    await message.ack()
                    seen += 1

        began = time.perf_counter()
        consuming = asyncio.ensure_future(consume())
        await lanes(count, 256, lambda data: client.js.publish(f"{stream}.x", data))
        await consuming
        took = time.perf_counter() - began
        await subscription.unsubscribe()
        return took


async def own_kafka(broker: Any, count: int, number: int) -> float:
    """The loop of aiokafka."""
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    topic = f"own-{number}"
    broker.create_topic(topic, 4)
    idempotent = broker.abilities.idempotent
    about = {"bootstrap_servers": broker.address}
    producer = AIOKafkaProducer(**about, acks="all", enable_idempotence=idempotent, max_batch_size=64 * 1024)
    consumer = AIOKafkaConsumer(
        topic, **about, group_id=f"own-{topic}", auto_offset_reset="earliest", auto_commit_interval_ms=1000
    )
    await producer.start()
    await producer.send_and_wait(topic, b"{}")
    await consumer.start()
    await consumer.getone()

    async def consume() -> None:
        seen = 0
        while seen < count:
            for messages in (await consumer.getmany(timeout_ms=200, max_records=500)).values():
                for message in messages:
                    json.loads(message.value)
                    seen += 1
        await consumer.commit()

    began = time.perf_counter()
    consuming = asyncio.ensure_future(consume())
    await lanes(count, 512, lambda data: producer.send_and_wait(topic, data))
    await consuming
    took = time.perf_counter() - began
    await producer.stop()
    await consumer.stop()
    return took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    from peers.kafka_brokers import Tansu
    from peers.nats_server import NatsServer

    print_machine()
    count, rows = options.records, []
    with tempfile.TemporaryDirectory() as folder, NatsServer(Path(folder)) as server:
        table = f'type = "nats"\nservers = ["{server.url}"]'
        rows.append(_row("nats", table, own_nats, server, count, options.rounds))
    with tempfile.TemporaryDirectory() as folder, Tansu(Path(folder)) as broker:
        table = f'type = "kafka"\nservers = ["{broker.address}"]\nidempotent = false\npartitions = 4'
        rows.append(_row("kafka (Tansu)", table, own_kafka, broker, count, options.rounds))
    print_table(["edge over", "dagflow", "client's own loop", "ratio"], rows)


def _row(name: str, table: str, own: Any, broker: Any, count: int, rounds: int) -> list[str]:
    asyncio.run(over_edge(file_of("warm", table, 1000), 1000))  # what is imported once
    ours, theirs = [], []
    for number in range(rounds):
        theirs.append(asyncio.run(own(broker, count, number)))
        ours.append(asyncio.run(over_edge(file_of(f"b{number}", table, count), count)))
    ratio = median([one / other for one, other in zip(theirs, ours, strict=True)])
    return [name, f"{count / median(ours):,.0f}/s", f"{count / median(theirs):,.0f}/s", f"{ratio:.2f}"]


if __name__ == "__main__":
    main()
