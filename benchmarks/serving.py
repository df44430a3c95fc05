"""A service of five stages with `echo` and all metrics, against a bare aiohttp handler; and at ten times its capacity.

    python benchmarks/serving.py [--rounds 3] [--litellm PROGRAM]

The load comes from a process of its own (`benchmarks/http_load.py`), as bare HTTP/1.1 over kept-alive connections.
With the program `litellm` of LiteLLM's proxy (`pip install 'litellm[proxy]'`, best in an environment of its own), two
further rows: that proxy and dagflow before a model server that costs next to nothing (`benchmarks/model_server.py`).

  throughput  64 connections, each asking as soon as it is answered; requests for each second of the server's CPU
  latency     64 connections, 500 requests a second in all: the median and the 99th percentile of each
  overload    a worker that takes 100 ms and 20 calls at a time (200 a second), asked 180 and 2,000 times a second: the
              latencies of what is answered and of what is refused, the share that is refused, and the server's memory
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure import median, print_machine, print_table, rounds

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
TEXT = "Say something about the number 17 that is as long as one reads without much thought about it."
BODY = json.dumps({"model": "bench", "messages": [{"role": "user", "content": TEXT}]})
CONNECTIONS, COUNT = 64, 20_000
CALM_RATE, CALM_COUNT = 500, 5_000
SLOW_COUNT, SLOW_RATE = 1_500, 50  # of what takes more than a millisecond for a request
CAPACITY, OVER = 200, 2_000

TITLES = {"bare": "bare aiohttp", "dagflow": "dagflow, five stages", "proxy": "dagflow as a proxy"}

FILE = """
[pipeline]
drain_timeout = "1s"
edges = [
  {{ from = "api", to = "rag" }}, {{ from = "rag", to = "assemble" }},
  {{ from = "assemble", to = "inference", capacity = {capacity} {shed} }},
  {{ from = "inference", to = "post" }}, {{ from = "post", to = "stream" }},
]
[sources.api]
type = "http"
listen = "127.0.0.1:0"
[stages.rag]
type = "set"
fields = {{ context = "input" }}
[stages.assemble]
type = "template"
template = "Answer in one sentence: {{{{ input }}}}"
[stages.inference]
type = "inference"
worker = "main"
concurrency = {concurrency}
[stages.post]
type = "post"
[sinks.stream]
type = "reply"
concurrency = 256
[workers.main]
type = "echo"
delay = "{delay}"
[admin]
listen = "127.0.0.1:0"
token_file = "token.json"
[logging]
format = "json"
"""

PROXY = """
[pipeline]
drain_timeout = "1s"
edges = [{{ from = "api", to = "ask" }}, {{ from = "ask", to = "answer" }}]
[sources.api]
type = "http"
listen = "127.0.0.1:0"
[stages.ask]
type = "inference"
worker = "main"
concurrency = 256
[sinks.answer]
type = "reply"
concurrency = 256
[workers.main]
type = "openai"
model = "bench"
base_url = "http://127.0.0.1:{upstream}/v1"
[admin]
listen = "127.0.0.1:0"
token_file = "token.json"
[logging]
format = "json"
"""
OPEN = "DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY"  # no tokens: dagflow looks at none here either
LITELLM = """
model_list:
  - model_name: bench
    litellm_params: {{ model: openai/bench, api_base: "http://127.0.0.1:{upstream}/v1", api_key: none }}
"""


@contextmanager
def upstream() -> Iterator[int]:
    """Run a model server for the block; give its port."""
    command = [sys.executable, str(HERE / "model_server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield int(process.stdout.readline())
        process.stdin.close()


@contextmanager
def litellm(program: str) -> Iterator[tuple[int, int]]:
    """Run LiteLLM's proxy for the block; give its port and its process id."""
    with tempfile.TemporaryDirectory() as folder, upstream() as behind, socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
        one.close()
        file = Path(folder) / "config.yaml"
        file.write_text(LITELLM.format(upstream=behind))
        command = [program, "--config", str(file), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
        quiet = dict.fromkeys(("LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_" + OPEN), "true") | {"LITELLM_LOG": "ERROR"}
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, env={**os.environ, **quiet}, **pipes) as process:
            try:
                _wait_listening(port, process)
                yield port, process.pid
            finally:
                process.terminate()


def _wait_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.2)
    raise SystemExit("the proxy of LiteLLM did not start")


@contextmanager
def served(variant: str) -> Iterator[tuple[int, int]]:
    """Run a server for the block; give its port and its process id."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if variant == "bare":
            command = [sys.executable, str(HERE / "bare_service.py")]
        elif variant == "proxy":
            file = Path(folder) / "service.toml"
            file.write_text(PROXY.format(upstream=stack.enter_context(upstream())))
            command = [sys.executable, "-m", "dagflow", "run", "-q", str(file)]
        else:
            over = variant == "overload"
            settings = {"capacity": 4, "concurrency": 20, "delay": "100ms", "shed": ', when_full = "drop_newest"'}
            calm = {"capacity": 512, "concurrency": 256, "delay": "0s", "shed": ""}
            file = Path(folder) / "service.toml"
            file.write_text(FILE.format(**(settings if over else calm)))
            command = [sys.executable, "-m", "dagflow", "run", "-q", str(file)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, text=True, **pipes) as process:
            try:
                yield _port(process, variant), process.pid
            finally:
                process.terminate()


def _port(process: subprocess.Popen[str], variant: str) -> int:
    if variant == "bare":
        return int(process.stdout.readline())
    for line in process.stderr:
        told = json.loads(line)
        if told["event"] == "listening" and told.get("node") == "api":
            return int(told["address"].rpartition(":")[2])
    raise SystemExit("the service did not start")


def load(port: int, **options: Any) -> dict[str, Any]:
    """Ask the server from another process."""
    given = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, str(HERE / "http_load.py"), str(port), "/v1/chat/completions", BODY, *given]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout)


def cpu_s(pid: int) -> float:
    """The CPU time of a process so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int) -> float:
    """The memory of a process now, in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(variant: str) -> dict[str, Any]:
    """Measure throughput and latency of a server; a variant with a `/` is the program of LiteLLM's proxy."""
    slow = "/" in variant
    count = SLOW_COUNT if slow else COUNT
    with (litellm if slow else served)(variant) as (port, pid):
        load(port, connections=CONNECTIONS, count=count // 10)
        began = cpu_s(pid)
        full = load(port, connections=CONNECTIONS, count=count)
        spent = cpu_s(pid) - began
        rate = {"count": SLOW_COUNT, "rate": SLOW_RATE} if slow else {"count": CALM_COUNT, "rate": CALM_RATE}
        calm = load(port, connections=CONNECTIONS, **rate)["statuses"]["200"]
    good = full["statuses"]["200"]
    assert good["count"] == count, full
    return {"per_core": count / spent, "wall": full["per_second"], "full": good, "calm": calm}


def overload() -> None:
    """Measure a service at its capacity and at ten times that."""
    with served("overload") as (port, pid):
        rows = []
        for rate, count in ((0.9 * CAPACITY, 1_800), (OVER, 20_000), (OVER, 20_000)):
            found = load(port, connections=256, count=count, rate=rate)["statuses"]
            good, refused = found["200"], found.get("429", {"count": 0, "p50_ms": 0.0, "p99_ms": 0.0})
            share = f"{100 * refused['count'] / count:.1f} %"
            answered = [f"{good['p50_ms']:.1f}", f"{good['p99_ms']:.1f}"]
            turned = [f"{refused['p50_ms']:.2f}", f"{refused['p99_ms']:.2f}"]
            rows.append([f"{rate:.0f}/s", *answered, share, *turned, f"{memory_mib(pid):.0f}"])
    header = ["asked", "answered p50 ms", "p99 ms", "refused", "refused p50 ms", "p99 ms", "MiB"]
    print_table(header, rows)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--litellm", metavar="PROGRAM", type=os.path.abspath)
    given = parser.parse_args()
    print_machine()
    proxies = ["proxy", given.litellm] if given.litellm else []
    results = rounds(given.rounds, ["bare", "dagflow", *proxies], measure)
    rows = []
    for name, found in results.items():
        cores = [one["per_core"] for one in found]
        ratios = [one["per_core"] / bare["per_core"] for one, bare in zip(found, results["bare"], strict=True)]
        calm = [[one["calm"][key] for one in found] for key in ("p50_ms", "p99_ms")]
        wall = median(one["wall"] for one in found)
        latencies = [f"{median(values):.2f}" for values in calm]
        title = TITLES.get(name, f"LiteLLM's proxy (calm: {SLOW_RATE}/s)")
        rows.append([title, f"{median(cores):,.0f}", f"{wall:,.0f}", f"{median(ratios):.2f}", *latencies])
    header = ["", "requests/s and core", "requests/s", "of bare, by CPU", "calm p50 ms", "calm p99 ms"]
    print_table(header, rows)
    overload()


if __name__ == "__main__":
    main()
