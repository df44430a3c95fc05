"""Kill a run again and again, and look at what it leaves: nothing lost, nothing twice, and how much was asked again.

    python scripts/soak_resume.py [--records 100000] [--seed 1] [--processes 1]

A model server in this process counts the calls. Each run is killed with SIGKILL after 0.5 to 3 seconds, until one
ends by itself; between two runs the output must hold whole lines only. Of several processes, one child is killed two
times out of three, and the parent the third time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import ClassVar

CONCURRENCY = 32
FILE = """
[pipeline]
edges = [
  {{ from = "in", to = "say" }}, {{ from = "say", to = "ask" }}, {{ from = "ask", to = "post" }},
  {{ from = "post", to = "out" }}, {{ from = "post", to = "also" }},
]
[sources.in]
type = "jsonl"
path = "in.jsonl"
[stages.say]
type = "template"
template = "Say {{{{ input }}}}"
[stages.ask]
type = "inference"
worker = "main"
concurrency = {concurrency}
[stages.post]
type = "post"
[sinks.out]
type = "jsonl"
path = "out.jsonl"
fields = ["id", "text"]
[sinks.also]
type = "jsonl"
path = "also.jsonl"
fields = ["id"]
[workers.main]
type = "openai"
model = "m"
base_url = "http://127.0.0.1:{port}/v1"
[checkpoint]
path = "checkpoint.db"
[runtime]
processes = {processes}
max_redeliveries = 100
"""


class Model(asyncio.Protocol):
    """Answers each request at once, and counts it."""

    calls: ClassVar[Counter[str]] = Counter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            length = int(self.buffer[:end].lower().split(b"content-length:")[1].split(b"\r\n")[0])
            body, rest = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
            if len(body) < length:
                return
            self.buffer = rest
            prompt = json.loads(body)["messages"][-1]["content"]
            self.calls[prompt] += 1
            choice = {"index": 0, "message": {"role": "assistant", "content": prompt}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            told = {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}
            text = json.dumps(told).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
            self.transport.write(head.encode() + text)


def lines_of(path: Path) -> Counter[str]:
    """The ids in a file of whole lines."""
    text = path.read_text() if path.exists() else ""
    assert not text or text.endswith("\n"), f"{path} ends with half a line"
    return Counter(json.loads(line)["id"] for line in text.splitlines())


def children_of(pid: int) -> list[int]:
    """The process ids of a run's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def soak(folder: Path, records: int, processes: int, draw: random.Random) -> None:
    """Run, kill and look."""
    server = await asyncio.get_running_loop().create_server(Model, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    ids = [f"r{n}" if n % 10 else "again" for n in range(records)]
    lines = [json.dumps({"id": id, "input": n if n % 10 else "the same"}) for n, id in enumerate(ids)]
    (folder / "in.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "p.toml").write_text(FILE.format(concurrency=CONCURRENCY, port=port, processes=processes))
    kills, began, process, errors = 0, time.monotonic(), None, os.open(folder / "stderr", os.O_CREAT | os.O_WRONLY)
    while process is None or process.returncode != 0:
        if process is None:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "dagflow", "run", "-q", str(folder / "p.toml"), stderr=errors
            )
        try:
            await asyncio.wait_for(process.wait(), draw.uniform(0.5, 3.0))
            assert process.returncode == 0, (folder / "stderr").read_text()[-2000:]
        except TimeoutError:
            kills += 1
            children = children_of(process.pid) if processes > 1 and draw.random() < 2 / 3 else []
            if children:
                os.kill(draw.choice(children), signal.SIGKILL)
                continue
            process.kill()
            await process.wait()
            process = None
            lines_of(folder / "out.jsonl")
    wanted = Counter(ids)
    assert lines_of(folder / "out.jsonl") == wanted, "out.jsonl is not what it should be"
    assert lines_of(folder / "also.jsonl") == wanted, "also.jsonl is not what it should be"
    calls = sum(Model.calls.values())
    per_second = calls / (time.monotonic() - began)
    print(f"{records:,} records, {kills} kills, {calls - records:,} calls made again, ", end="")
    print(f"{(calls - records) / max(kills, 1):.0f} a kill (concurrency {CONCURRENCY}, {per_second:,.0f} calls/s)")
    server.close()


def main() -> None:
    """Read the options and soak."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(soak(Path(folder), given.records, given.processes, random.Random(given.seed)))


if __name__ == "__main__":
    main()
