"""The admin listener, exporters and `dagflow top` in front of several processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys

import aiohttp
import pytest
from peers.crews import FILE, CrewRun
from peers.processes import wait_until

pytestmark = pytest.mark.anyio
ADMIN = """
[admin]
listen = "127.0.0.1:0"
token_file = "token.json"
[dead_letters]
path = "letters.db"
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A pipeline that works on for a while, of which some records fail."""
    text = FILE.replace('delay = "2ms"', 'delay = "10ms"\nerror_rate = 0.1\nseed = 3') + ADMIN
    found = CrewRun(tmp_path_factory.mktemp("admin"), text, lines=20_000)
    found.start()
    found.wait_written(400)
    yield found
    found.process.send_signal(signal.SIGTERM)
    found.process.wait(timeout=50)


async def ask(run, path, **body):
    """Ask the listener; gives status and JSON, or text."""
    beacon = json.loads((run.path / "token.json").read_text())
    headers = {"Authorization": f"Bearer {beacon['token']}"}
    async with aiohttp.ClientSession(beacon["address"], headers=headers) as session:
        method = session.post(path, json=body) if body else session.get(path)
        async with method as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, await (answer.json() if is_json else answer.text())


async def test_status(run):
    """The books of both as one, with what is at work now, and a row for each process."""
    async with asyncio.timeout(20):  # what is told is up to half a second old
        while not (status := (await ask(run, "/status"))[1])["nodes"]["ask"]["done"]:
            await asyncio.sleep(0.05)
    assert status["state"] == "running"
    assert status["ready"], status["reasons"]
    assert status["accepted"] == sum(status["outcomes"].values()) + status["in_flight"]
    assert [row["alive"] for row in status["processes"]] == [True, True]
    assert status["accepted"] == sum(row["accepted"] for row in status["processes"])
    assert status["nodes"]["ask"]["slots"] == 16
    assert 0.008 < status["nodes"]["ask"]["recent"]["p50_s"] < 1
    assert status["max_in_flight"] == 4096
    assert status["pid"] == run.process.pid == status["parent"]["pid"]


async def test_metrics(run):
    """One scrape has the sums."""
    _, text = await ask(run, "/metrics")
    assert "dagflow_edge_capacity" in text
    [limit] = [line for line in text.splitlines() if line.startswith("dagflow_records_in_flight_limit")]
    assert float(limit.split()[-1]) == 4096


async def test_probes_and_the_graph(run):
    """Ready as long as all processes are."""
    assert (await ask(run, "/livez"))[0] == 200
    assert (await ask(run, "/readyz"))[0] == 200
    assert {node["name"] for node in (await ask(run, "/graph"))[1]["nodes"]} == {"in", "ask", "out"}
    os.kill(run.children()[0], signal.SIGKILL)

    async def reasons():
        return (await ask(run, "/readyz"))[1]["reasons"]

    async with asyncio.timeout(20):
        while not (found := await reasons()):
            await asyncio.sleep(0.001)
        assert found[0]["what"].startswith("process ")
        while await reasons():
            await asyncio.sleep(0.01)


async def test_dead_letters(run):
    """Listed and purged; a replay says why it is not possible here."""
    status, listed = await ask(run, "/dead-letters")
    assert status == 200
    assert listed["total"] > 10
    first = listed["letters"][0]["id"]
    assert (await ask(run, "/dead-letters/purge", ids=[first]))[1] == {"purged": 1}
    status, refused = await ask(run, "/dead-letters/replay", all=True)
    assert (status, refused["error"]["code"]) == (409, "several-processes")


async def test_a_tap_says_why_not(run):
    """Instead of showing a part as if it were the whole."""
    status, refused = await ask(run, "/tap?edge=in%20-%3E%20ask")
    assert (status, refused["error"]["code"]) == (409, "several-processes")


def test_top_shows_the_processes(run):
    """With what each has taken and used, and the parent."""
    command = [sys.executable, "-m", "dagflow", "top", "--count", "1", "p.toml"]
    shown = subprocess.run(command, cwd=run.path, capture_output=True, text=True, timeout=30, check=True).stdout
    rows = [line.split() for line in shown.splitlines()]
    assert [row[0] for row in rows if row[:1] in (["0"], ["1"], ["parent"])] == ["0", "1", "parent"]


def test_exporters_send_the_sums_once(tmp_path):
    """From the parent, at the end too."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(20)
        port = receiver.getsockname()[1]
        run = CrewRun(tmp_path, FILE + f'[metrics.statsd]\nport = {port}\ninterval = "10min"\n', lines=100)
        run.start()
        lines = []
        wait_until(lambda: run.process.poll() is not None, within_s=50)
        receiver.setblocking(False)
        try:
            while True:
                lines += receiver.recv(65536).decode().splitlines()
        except BlockingIOError:
            pass
    accepted = [line for line in lines if line.startswith("dagflow_records_accepted:")]
    assert accepted == ["dagflow_records_accepted:100|c"]
