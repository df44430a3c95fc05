"""A load generator that costs little: bare HTTP/1.1 over kept-alive connections, for one request repeated.

    python benchmarks/http_load.py PORT PATH BODY --connections 64 --count 20000 [--rate 500]

Without `--rate`, each connection sends its next request when the last one was answered. With it, requests begin when
they are due, on whichever connection is free; a connection is opened where none is, up to `--connections`. Prints one
JSON object: for each status, how many there were and their latencies in ms; and how long it all took.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import defaultdict
from contextlib import suppress


class Client(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self, run: Run) -> None:
        self.run, self.buffer, self.began = run, b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def ask(self, due: float | None = None) -> None:
        """Send the request; its latency counts from when it was due."""
        self.began = time.perf_counter() if due is None else due
        self.transport.write(self.run.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self.buffer) < end + 4 + length:
            return
        self.buffer = b""
        self.run.answered(self, head[9:12].decode(), time.perf_counter() - self.began)

    def connection_lost(self, error: Exception | None) -> None:
        self.run.lost += 1


class Run:
    """So many requests, and what became of them."""

    def __init__(self, request: bytes, count: int) -> None:
        self.request, self.left = request, count
        self.latencies: dict[str, list[float]] = defaultdict(list)
        self.idle: list[Client] = []
        self.waiting = count
        self.lost = 0
        self.closed_loop = True
        self.done = asyncio.get_running_loop().create_future()
        self.freed: asyncio.Future[None] | None = None

    def answered(self, client: Client, status: str, seconds: float) -> None:
        """Note an answer; go on, if there is more to ask."""
        self.latencies[status].append(seconds)
        self.waiting -= 1
        if not self.waiting:
            self.done.set_result(None)
        elif self.closed_loop and self.left:
            self.left -= 1
            client.ask()
        else:
            self.idle.append(client)
            if self.freed is not None and not self.freed.done():
                self.freed.set_result(None)

    async def wait_idle(self) -> None:
        """Wait until a connection is free."""
        self.freed = asyncio.get_running_loop().create_future()
        await self.freed


async def load(port: int, request: bytes, connections: int, count: int, rate: float | None) -> dict[str, object]:
    """Send the requests and give the figures."""
    run, loop = Run(request, count), asyncio.get_running_loop()
    opening = [loop.create_connection(lambda: Client(run), "127.0.0.1", port) for _ in range(connections)]
    run.idle = [protocol for _, protocol in await asyncio.gather(*opening)]
    began = time.perf_counter()
    if rate is None:
        for _ in range(min(connections, count)):
            run.left -= 1
            run.idle.pop().ask()
    else:
        run.closed_loop = False
        for number in range(count):
            due = began + number / rate
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            if not run.idle:  # all wait for answers: this one is late, and counts as such
                await run.wait_idle()
            run.idle.pop().ask(due)
    await run.done
    took = time.perf_counter() - began
    shown = {status: {"count": len(ms), **quantiles(ms)} for status, ms in run.latencies.items()}
    return {"seconds": took, "per_second": count / took, "statuses": shown, "lost": run.lost}


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Give median, 99th percentile and maximum, in ms."""
    ordered = sorted(seconds)
    at = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
    return {name: ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1000 for name, share in at.items()}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("body")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--rate", type=float)
    given = parser.parse_args()
    body = given.body.encode()
    head = f"POST {given.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    with suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    print(json.dumps(asyncio.run(load(given.port, request, given.connections, given.count, given.rate))))


if __name__ == "__main__":
    main()
