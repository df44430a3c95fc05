"""Brokers: records per second through dagflow's sources and sinks, beside the client library's own loops.

    python benchmarks/mesh_kafka.py [--records 20000] [--rounds 3] [--broker tansu|mock]

Kafka: JSON objects of about 500 bytes. The library's produce loop has as many messages unacknowledged as the sink, and
its consume loop decodes each message and commits once a second; both end when all is closed. dagflow's sink gets its
records from the source `generate`, its source hands them to the sink `null`, and keeps dead letters. The broker runs
beside them on the same cores, so the ratios count, and not what the broker can do. The mock keeps 5 MB of a partition.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from measure import median, print_machine, print_table

sys.path.append(str(Path(__file__).parents[1] / "tests"))

WINDOW = 512
TEXT = "x" * 480


def kafka_file(address: str, topic: str, count: int, idempotent: bool, folder: str) -> tuple[str, str]:
    """Give the pipeline that writes to a topic, and the one that reads it."""
    letters = f'[dead_letters]\npath = "{folder}/letters.db"\n'
    write = f"""
[pipeline]
edges = [{{ from = "in", to = "out" }}]
[sources.in]
type = "generate"
count = {count}
input = "{TEXT}"
[sinks.out]
type = "kafka"
servers = ["{address}"]
topic = "{topic}"
format = "records"
idempotent = {str(idempotent).lower()}
concurrency = {WINDOW}
"""
    read = f"""
[pipeline]
edges = [{{ from = "in", to = "out" }}]
[sources.in]
type = "kafka"
servers = ["{address}"]
topics = ["{topic}"]
group = "dagflow-{topic}"
until = "end"
[sinks.out]
type = "null"
{letters}"""
    return write, read


async def run(text: str, count: int) -> float:
    """Run a file and give the seconds from the start of its records to the end of its run."""
    from dagflow.compile import compile_text
    from dagflow.engine.engine import Engine

    engine = Engine(compile_text(text))
    running = asyncio.ensure_future(engine.run())
    await engine.started.wait()
    began = time.perf_counter()
    report = await running
    assert report["outcomes"]["delivered"] == count, report["outcomes"]
    return time.perf_counter() - began


async def produce(address: str, topic: str, count: int, idempotent: bool) -> float:
    """The library's own produce loop, with a bounded window."""
    from aiokafka import AIOKafkaProducer

    producer = AIOKafkaProducer(
        bootstrap_servers=address, acks="all", enable_idempotence=idempotent, max_batch_size=64 * 1024
    )
    await producer.start()
    numbers = iter(range(count))

    async def lane() -> None:
        for number in numbers:
            value = json.dumps({"id": f"in:{number}", "input": TEXT, "n": number}).encode()
            await producer.send_and_wait(topic, value)

    began = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(WINDOW)))
    await producer.stop()
    return time.perf_counter() - began


async def consume(address: str, topic: str, count: int) -> float:
    """The library's own consume loop, which decodes, and commits once a second."""
    from aiokafka import AIOKafkaConsumer

    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=address,
        group_id=f"own-{topic}",
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        auto_commit_interval_ms=1000,
    )
    await consumer.start()
    began, seen = time.perf_counter(), 0
    while seen < count:
        for messages in (await consumer.getmany(timeout_ms=200, max_records=500)).values():
            for message in messages:
                json.loads(message.value)
                seen += 1
    await consumer.commit()
    await consumer.stop()
    return time.perf_counter() - began


async def kafka_round(broker: Any, count: int, number: int, folder: str) -> dict[str, float]:
    """Measure each of the four once, on topics of their own."""
    own, ours = f"own-{number}", f"ours-{number}"
    for topic in (own, ours):
        broker.create_topic(topic, 4)
    idempotent = broker.abilities.idempotent
    write, read = kafka_file(broker.address, ours, count, idempotent, folder)
    return {
        "aiokafka produce": await produce(broker.address, own, count, idempotent),
        "sink kafka": await run(write, count),
        "aiokafka consume": await consume(broker.address, own, count),
        "source kafka": await run(read, count),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--broker", choices=["tansu", "mock"], default="mock")
    options = parser.parse_args()
    from peers.kafka_brokers import MockKafka, Tansu

    print_machine()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        broker = stack.enter_context(Tansu(Path(folder)) if options.broker == "tansu" else MockKafka())
        asyncio.run(kafka_round(broker, 1000, 0, folder))  # what is imported once
        rounds = [
            asyncio.run(kafka_round(broker, options.records, number + 1, folder)) for number in range(options.rounds)
        ]
    rates = {name: options.records / median([each[name] for each in rounds]) for name in rounds[0]}
    rows = []
    for ours, own in (("sink kafka", "aiokafka produce"), ("source kafka", "aiokafka consume")):
        ratio = median([each[own] / each[ours] for each in rounds])
        rows.append([f"{ours} ({options.broker})", f"{rates[ours]:,.0f}/s", f"{rates[own]:,.0f}/s", f"{ratio:.2f}"])
    print_table(["", "dagflow", "aiokafka", "ratio"], rows)


if __name__ == "__main__":
    main()
