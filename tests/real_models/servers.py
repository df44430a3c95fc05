"""Real model servers as processes on loopback, each ended by its own process id."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
STARTING_S = 240.0


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def llama_server(model: Path) -> Iterator[str]:
    """Run llama-cpp-python's server with a model; give the base URL."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "llama_cpp.server",
        "--model",
        str(model),
        "--model_alias",
        "tiny",
        "--port",
        str(port),
    ]
    # By default it cuts running streams when another request comes.
    with _running([*command, "--host", "127.0.0.1", "--interrupt_requests", "false"], port, model.parent):
        yield f"http://127.0.0.1:{port}/v1"


@contextmanager
def vllm_server(folder: Path) -> Iterator[str]:
    """Run vLLM on the CPU with a tiny model that is written first; give the base URL."""
    python, port = os.environ["DAGFLOW_VLLM_PYTHON"], free_port()
    model = folder / "tiny"
    subprocess.run([python, str(HERE / "tiny_transformer.py"), str(model)], check=True, capture_output=True, cwd=folder)
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--served-model-name", "tiny"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--max-model-len", "256", "--enforce-eager"]
    command += ["--dtype", "float32", "--scheduling-policy", "priority"]
    settings = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    with _running(command, port, folder, settings):
        yield f"http://127.0.0.1:{port}/v1"


@contextmanager
def _running(command: list[str], port: int, folder: Path, settings: dict[str, str] | None = None) -> Iterator[None]:
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=folder, env={**os.environ, **(settings or {})}
        )
    try:
        _wait_until_ready(process, port, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + STARTING_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(
                f"the server ended with {process.returncode}:\n{log.read_text(errors='replace')[-4000:]}"
            )
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"the server did not answer within {STARTING_S:g} s:\n{log.read_text(errors='replace')[-4000:]}")
