"""The service against its own description: requests that nobody would think of, made by schemathesis."""

from __future__ import annotations

import asyncio
import sys

import pytest
from peers.scripted_server import ScriptedServer
from service import served

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
SERVICE = """
[pipeline]
edges = [
  { from = "api", to = "ask", when = "operation != 'embeddings'" },
  { from = "api", to = "embed", when = "operation == 'embeddings'" },
  { from = "ask", to = "answer" }, { from = "embed", to = "answer" },
]
[sources.api]
type = "http"
listen = "127.0.0.1:0"
[stages.ask]
type = "inference"
worker = "main"
[stages.embed]
type = "embed"
worker = "vectors"
[sinks.answer]
type = "reply"
[workers.main]
type = "echo"
[workers.vectors]
type = "openai"
model = "tiny"
base_url = "${env:URL}"
"""
# What a description cannot say: ids that exist, and how a record is that was made of anything.
CHECKS = ["--exclude-checks", "positive_data_acceptance,use_after_free,ensure_resource_availability"]
# A request with a deadline of a millisecond is answered with 504, as the description says: no error of the service.
SETTINGS = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "504"]
"""


async def test_it_is_as_it_says(tmp_path):
    """No error of the service, no status and no form that the description does not have, no wrong request taken."""
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    with ScriptedServer() as server:
        async with served(SERVICE, environ={"URL": f"{server.url}/v1"}) as service:
            options = ["--max-examples", "15", "--seed", "7", "--generation-database", "none", *CHECKS]
            command = ["-m", "schemathesis.cli", "run", f"{service.url}/openapi.json", *options]
            process = await asyncio.create_subprocess_exec(
                sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=tmp_path
            )
            output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()[-6000:]
    assert service.report["accepted"] > 50
