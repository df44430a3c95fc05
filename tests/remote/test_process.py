"""`dagflow worker serve` as its users run it: a process that is asked, drained, and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from rigs import SILENT
from typer.testing import CliRunner

from dagflow.cli import app
from dagflow.compile import compile_text
from dagflow.engine.engine import Engine
from dagflow.engine.serve import serve_blocking
from dagflow.errors import WorkerError
from dagflow.exchange import Request
from dagflow.remote.server import Security
from dagflow.testing.alone import build_context, build_plugin, opened
from dagflow.workers.grpc import Grpc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio
FILE = """
[pipeline]
edges = [{ from = "in", to = "ask" }, { from = "ask", to = "out" }]
[sources.in]
type = "jsonl"
path = "-"
fields = ["messages"]
[stages.ask]
type = "inference"
worker = "small"
[sinks.out]
type = "null"
[workers.small]
type = "echo"
[workers.large]
type = "echo"
max_in_flight = 1
"""


@contextmanager
def served(*arguments: object, **settings: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command for the block; give the process and the address that it tells."""
    command = [sys.executable, "-m", "dagflow", "worker", "serve", "--listen", "127.0.0.1:0", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings)
    try:
        line = process.stdout.readline()
        assert " listens at " in line, process.stderr.read()
        yield process, line.split()[-1]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def asking(address: str) -> Any:
    """Open a worker that asks it."""
    return opened(build_plugin(Grpc, address=address), build_context("far"))


async def test_a_type_with_options() -> None:
    """And a whole pipeline that asks it."""
    with served("--type", "echo", "--option", "delay=1ms") as (_, address):
        file = FILE.replace('type = "jsonl"\npath = "-"\nfields = ["messages"]', 'type = "generate"\ncount = 30')
        file = file.replace('in", to = "ask', 'in", to = "p').replace(
            '[{ from = "in', '[{ from = "p", to = "ask" }, { from = "in'
        )
        file += '[stages.p]\ntype = "template"\ntemplate = "{{ input }}"\n[workers.far]\ntype = "grpc"\n'
        file = file.replace('worker = "small"', 'worker = "far"') + f'address = "{address}"\n'
        report = await Engine(compile_text(file), log=SILENT).run()
    assert report["outcomes"]["delivered"] == 30
    assert report["workers"]["far"]["answered"] == 30


async def test_a_process_that_is_killed_in_mid_stream() -> None:
    """The stream breaks as `unavailable`, never with a clean end."""
    with served("--type", "echo", "--option", "chunk_delay=20ms") as (process, address):
        async with asking(address) as worker:
            stream = worker.stream(Request(prompt="word " * 500))
            await anext(stream)
            process.send_signal(signal.SIGKILL)
            with pytest.raises(WorkerError) as caught:
                await _rest(stream)
    assert (caught.value.kind, caught.value.retryable) == ("unavailable", True)


async def _rest(stream: Any) -> None:
    async for _ in stream:
        pass


async def test_a_signal_drains(tmp_path: Path) -> None:
    """What is under way is finished, and the process ends well."""
    (tmp_path / "p.toml").write_text(FILE)
    with served(tmp_path / "p.toml", "--worker", "large", "--option", "chunk_delay=5ms") as (process, address):
        async with asking(address) as worker:
            stream = worker.stream(Request(prompt="word " * 60))
            await anext(stream)
            process.send_signal(signal.SIGTERM)
            await _rest(stream)
        assert process.wait(20) == 0


async def test_a_drain_that_takes_too_long(tmp_path: Path) -> None:
    """It cuts off what is left, and says so."""
    with served("--type", "echo", "--option", "chunk_delay=1h", "--drain-timeout", "50ms") as (process, address):
        async with asking(address) as worker:
            stream = worker.stream(Request(prompt="one two three"))
            await anext(stream)
            process.send_signal(signal.SIGTERM)
            with pytest.raises(WorkerError):
                await _rest(stream)
        assert process.wait(20) == 75
        assert "calls were cut off" in process.stderr.read()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "expected a pipeline file, or `--type`"),
        (("--type", "ecko"), 78, "did you mean `echo`"),
        (("--type", "echo", "-o", "delay=soon"), 78, "expected a delay"),
        (("--type", "echo", "-o", "delay"), 2, "KEY=VALUE"),
        (("--type", "echo", "--listen", "0.0.0.0:0"), 2, "open to others"),
        (("--type", "echo", "--listen", "here"), 2, "is no address"),
        (("--type", "echo", "--listen", "unixhost:0"), 2, "open to others"),
        (("--type", "echo", "--listen", "127.0.0.1:70000"), 2, "is no address"),
        (("--type", "echo", "--tls-cert", "c.pem"), 2, "goes together"),
        (("--type", "echo", "--client-ca", "c.pem"), 2, "needs `--tls-cert`"),
        (("--type", "echo", "--token-file", "none"), 2, "can't be read"),
        (("--type", "echo", "--drain-timeout", "soon"), 2, "expected a duration"),
        (("p.toml",), 2, "say which"),
        (("p.toml", "--worker", "huge"), 2, "there is no worker `huge`"),
    ],
)
def test_wrong_command_lines(
    arguments: tuple[str, ...], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is started, and the remedy is told."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.toml").write_text(FILE)
    result = CliRunner().invoke(app, ["worker", "serve", *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    assert said in " ".join(result.output.replace("│", " ").split())


def test_an_address_that_is_taken() -> None:
    """It is told, and the process ends."""
    with served("--type", "echo") as (_, address):
        command = [sys.executable, "-m", "dagflow", "worker", "serve", "--type", "echo", "--listen", address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "cannot listen" in done.stderr
    assert threading.active_count() < 50


def test_a_signal_as_soon_as_it_listens() -> None:
    """Whoever reads the line may send one at once: that drains as well, and does not kill."""
    plan = compile_text(FILE)
    told = []

    def on_ready(port: int) -> None:
        told.append(port)
        os.kill(os.getpid(), signal.SIGTERM)

    assert serve_blocking(plan, "small", "127.0.0.1:0", Security(), 8, 5.0, on_ready)
    assert len(told) == 1
