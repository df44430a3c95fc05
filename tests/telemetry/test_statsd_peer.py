"""StatsD itself, as it is written for Node, against the exporter `statsd`."""

from __future__ import annotations

import ast
import asyncio
import re
import socket
from contextlib import asynccontextmanager

import pytest
from peers.node_packages import node_packages
from service import PLAIN, served

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


def free_port(kind) -> int:
    """Give a port that is free now."""
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Statsd:
    """A running StatsD; asked over its own administrative port."""

    def __init__(self, port: int, admin_port: int) -> None:
        self.port = port
        self._admin_port = admin_port

    async def ask(self, what: str) -> dict[str, float]:
        """Give its `counters` or its `gauges`."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._admin_port)
        writer.write(f"{what}\n".encode())
        text = (await reader.readuntil(b"END\n\n")).decode().removesuffix("END\n\n")
        writer.close()
        return ast.literal_eval(re.sub(r"^(\s*)([\w.]+):", r"\1'\2':", text, flags=re.MULTILINE))


@asynccontextmanager
async def statsd(folder):
    """Run StatsD for the block, which flushes nothing in that time."""
    packages = await asyncio.to_thread(node_packages)
    port, admin_port = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
    config = folder / "statsd.js"
    config.write_text(
        f"""{{port: {port}, address: "127.0.0.1", mgmt_port: {admin_port}, mgmt_address: "127.0.0.1",
        backends: ["./backends/console"], flushInterval: 3600000}}"""
    )
    process = await asyncio.create_subprocess_exec(
        "node", "stats.js", str(config), cwd=packages / "node_modules/statsd", stdout=asyncio.subprocess.PIPE
    )
    try:
        async for line in process.stdout:
            if b"server is up" in line:
                break
        yield Statsd(port, admin_port)
    finally:
        process.terminate()
        await process.wait()


async def test_it_reads_what_is_sent(tmp_path):
    """Every line; and its counters are those of the report."""
    async with statsd(tmp_path) as receiver:
        keys = f'[metrics.statsd]\nport = {receiver.port}\nprefix = "prod."'
        async with served(f"{PLAIN}\n{keys}") as service:
            for _ in range(5):
                assert (await service.chat()).status == 200
        counters, gauges = await receiver.ask("counters"), await receiver.ask("gauges")
    assert counters["statsd.bad_lines_seen"] == 0
    assert counters["prod.dagflow_records_accepted"] == service.report["accepted"] == 5
    assert counters["prod.dagflow_records.delivered"] == service.report["outcomes"]["delivered"]
    for name in ("offered", "taken"):
        sent = sum(value for key, value in counters.items() if f"dagflow_edge_{name}." in key)
        assert sent == sum(edge[name] for edge in service.report["edges"].values()) == 10
    assert any("edge_capacity" in name for name in gauges)
