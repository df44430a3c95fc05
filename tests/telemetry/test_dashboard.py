"""The Grafana dashboard that ships asks only for what exists, in words that Prometheus understands."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from service import CHAT, PLAIN, served

from dagflow.telemetry.families import Buckets
from dagflow.telemetry.prometheus import prometheus_name

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "dagflow" / "telemetry" / "grafana.json").read_text())
TARGETS = [target for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]

# Everything that a file can ask for, so that every metric is there.
FULL = """
[stages.ask2]
type = "set"
fields = { a = "1" }
retry = { attempts = 2 }
[dead_letters]
path = "DIR/letters.db"
[metrics.statsd]
"""


def known(tmp_path):
    """The names that Prometheus has, with their labels."""
    text = PLAIN.replace(
        '{ from = "ask", to = "answer" }', '{ from = "ask", to = "ask2" }, { from = "ask2", to = "answer" }'
    )
    text = text.replace('to = "ask" }', 'to = "ask", capacity = 1, when_full = "drop_newest" }', 1)
    keys = "breaker = {}\nprices = { input = 1, output = 1 }\nerror_rate = 0.5"
    text = text.replace('type = "echo"', f'type = "echo"\n{keys}') + FULL.replace("DIR", str(tmp_path))

    async def main():
        async with served(text) as service:
            while service.engine.report()["workers"]["main"]["errors"].get("unavailable", 0) < 1:
                await service.chat(CHAT, stream=True)
            await service.chat(CHAT, stream=True)
            return service.engine.families()

    names = {}
    for family in asyncio.run(main()):
        name = prometheus_name(family)
        histogram = any(isinstance(point.value, Buckets) for point in family.points)
        full = f"{name}_bucket" if histogram else f"{name}_total" if family.kind == "counter" else name
        labels = {label.replace(".", "_") for point in family.points for label in point.labels}
        names[full] = labels | ({"le"} if histogram else set())
    return names


def test_it_asks_for_what_exists(tmp_path):
    """Each metric, each label of a sum or a choice, and each label of a legend."""
    names = known(tmp_path)
    assert len(TARGETS) > 20
    for target in TARGETS:
        asked = set(re.findall(r"dagflow_\w+", target["expr"]))
        assert asked
        assert asked <= names.keys()
        labels = set.intersection(*(names[name] for name in asked))
        used = re.findall(r"by \(([^)]*)\)", target["expr"]) + re.findall(r"\{(\w+)[!=]", target["expr"])
        wanted = {label.strip() for part in used for label in part.split(",")}
        wanted |= set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        assert wanted <= labels


def test_prometheus_understands_it(tmp_path):
    """Each query is tried as a rule."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: Debian's package `prometheus` has it")
    queries = [target["expr"].replace("$__rate_interval", "5m") for target in TARGETS]
    rules = [{"record": f"tried:query:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "rules.json"  # JSON is YAML
    for tried, code in ((rules, 0), ([*rules, {"record": "a:b:c", "expr": "rate(dagflow_x"}], 1)):
        file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": tried}]}))
        done = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, timeout=30, check=False)
        assert done.returncode == code, done.stderr


def test_it_is_what_its_list_says():
    """`python docs/build_dashboard.py` would write it as it is."""
    spec = importlib.util.spec_from_file_location("build_dashboard", ROOT / "docs" / "build_dashboard.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.build() == DASHBOARD
