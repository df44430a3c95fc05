"""Metrics: one set of books, read by the report, by Prometheus, over OTLP and over StatsD."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess

import pytest
from peers.otlp_receiver import OtlpReceiver, attributes_of
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from service import PLAIN, served

from dagflow.compile import compile_text
from dagflow.engine.engine import Engine
from dagflow.errors import ConfigError
from dagflow.telemetry.catalog import CATALOG
from dagflow.telemetry.families import Buckets, Family, Point
from dagflow.telemetry.instruments import OCTAVES_NS, Distribution, Histogram
from dagflow.telemetry.prometheus import prometheus_name, render_prometheus
from dagflow.testing.alone import SILENT

pytestmark = pytest.mark.anyio

BUSY = """
[pipeline]
name = "demo"
edges = [
  { from = "in", to = "say", capacity = 8, when_full = "drop_newest" }, { from = "say", to = "ask" },
  { from = "ask", to = "keep" }, { from = "keep", to = "split" },
  { from = "split", to = "left" }, { from = "split", to = "right" },
  { from = "left", to = "join" }, { from = "right", to = "join" }, { from = "join", to = "out" },
]
[sources.in]
type = "generate"
count = 100
priorities = [0, 1]
[stages.say]
type = "template"
template = "Say {{ n }}"
[stages.ask]
type = "inference"
worker = "main"
retry = { attempts = 2, backoff = "0s" }
[stages.keep]
type = "filter"
keep = "n % 7"
[stages.split]
type = "set"
fields = { a = "1" }
[stages.left]
type = "fail"
rate = 0.2
[stages.right]
type = "set"
fields = { c = "1" }
[stages.join]
type = "set"
join = "all"
fields = { d = "1" }
[sinks.out]
type = "null"
[workers.main]
type = "echo"
error_rate = 0.3
max_in_flight = 4
limits = { requests = "10k/s" }
breaker = { failures = 10, calls = 10 }
prices = { input = 1, output = 2 }
budget = { warn = 10 }
[dead_letters]
path = "DIR/letters.db"
"""


def busy(folder, tables=""):
    """A pipeline in which everything happens."""
    return BUSY.replace("DIR", str(folder)) + tables


async def ran(text):
    """Run a file and give the engine."""
    engine = Engine(compile_text(text), log=SILENT)
    await engine.run()
    return engine


def values(families):
    """The values by the name that Prometheus has, and labels; counts of histograms."""
    found = {}
    for family in families:
        for sample in family.points:
            value = sample.value.count if isinstance(sample.value, Buckets) else sample.value
            labels = frozenset((name.replace(".", "_"), text) for name, text in sample.labels.items())
            found[prometheus_name(family), labels] = value
    return found


def scraped(text, parse=text_string_to_metric_families):
    """The same of a text for Prometheus."""
    found = {}
    for family in parse(text):
        for sample in family.samples:
            if not sample.name.endswith(("_bucket", "_sum", "_created")):
                name = sample.name.removesuffix("_count").removesuffix("_total")
                found[name, frozenset(sample.labels.items())] = sample.value
    return found


def of_otlp(requests):
    """The same of what a receiver got last."""
    found = {}
    [resource] = requests[-1].resource_metrics
    [scope] = resource.scope_metrics
    for metric in scope.metrics:
        data = getattr(metric, metric.WhichOneof("data"))
        family = Family(metric.name, "gauge", "", metric.unit.replace("1", ""), ())
        for point in data.data_points:
            labels = frozenset((name.replace(".", "_"), text) for name, text in attributes_of(point).items())
            value = (
                point.count if metric.WhichOneof("data") == "histogram" else getattr(point, point.WhichOneof("value"))
            )
            found[prometheus_name(family), labels] = value
    return found


class StatsdReceiver(asyncio.DatagramProtocol):
    """Adds up what comes, as StatsD does; tags as Datadog has them."""

    def __init__(self):
        self.found, self.sizes = {}, []

    def datagram_received(self, data, address):
        self.sizes.append(len(data))
        for line in data.decode().split("\n"):
            name, value, kind, tags = re.fullmatch(r"([^:|]+):([^|]+)\|([cg])(?:\|#(.*))?", line).groups()
            key = name, frozenset(tuple(tag.split(":", 1)) for tag in (tags or "").split(",") if tag)
            self.found[key] = float(value) + (self.found.get(key, 0) if kind == "c" else 0)


def at_rest(found):
    """What does not change from one reading to the next."""
    return {key: value for key, value in found.items() if "uptime" not in key[0]}


async def test_all_who_read_agree(tmp_path):
    """The report, the families, both texts for Prometheus, OTLP over both protocols, and StatsD."""
    loop = asyncio.get_running_loop()
    transport, statsd = await loop.create_datagram_endpoint(StatsdReceiver, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    with OtlpReceiver() as receiver:
        tables = f"""
[metrics.otlp]
endpoint = "{receiver.url}/v1/metrics"
interval = "20ms"
[metrics.statsd]
port = {port}
tags = "datadog"
interval = "20ms"
"""
        engine = await ran(busy(tmp_path, tables))
        sent = of_otlp(receiver.metrics)
    await asyncio.sleep(0)
    transport.close()
    report, families = engine.report(), engine.families()
    read = at_rest(values(families))
    assert at_rest(scraped(render_prometheus(families)[0].decode())) == read
    opened, kind = render_prometheus(families, "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert at_rest(scraped(opened.decode(), parse_openmetrics)) == read
    assert at_rest(sent) == read
    histograms = {prometheus_name(family) for family in families if family.kind == "histogram"}
    for (name, labels), value in read.items():
        tags = frozenset((key, re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_")) for key, text in labels)
        assert statsd.found.get((f"{name}_count" if name in histograms else name, tags), 0) == pytest.approx(value)
    assert max(statsd.sizes) <= 1432
    by = {(name, tuple(sorted(labels))): value for (name, labels), value in read.items()}
    assert by["dagflow_records_accepted", ()] == report["accepted"] == 100
    for outcome, count in report["outcomes"].items():
        assert by["dagflow_records", (("outcome", outcome),)] == count
    for name, edge in report["edges"].items():
        for what in ("offered", "taken", "expired", "cancelled"):
            assert by[f"dagflow_edge_{what}", (("edge", name),)] == edge[what]
        shed = sum(v for (n, labels), v in by.items() if n == "dagflow_edge_shed" and ("edge", name) in labels)
        assert shed == edge["shed"]
    for name, node in report["nodes"].items():
        labels = (("kind", node["kind"]), ("node", name))
        for what in ("taken", "done", "failed"):
            assert by[f"dagflow_node_{what}", labels] == node[what]
    worker = report["workers"]["main"]
    for what in ("calls", "answered", "turned_away"):
        assert by[f"dagflow_worker_{what}", (("worker", "main"),)] == worker[what]
    assert by["dagflow_worker_cost", (("worker", "main"),)] == pytest.approx(worker["cost"])
    assert (
        by["dagflow_worker_errors", (("error", "unavailable"), ("worker", "main"))] == worker["errors"]["unavailable"]
    )
    assert by["dagflow_dead_letters_kept", ()] == report["dead_letters"]["kept"] > 0
    assert report["outcomes"]["filtered"] > 0 < report["outcomes"]["shed"]


def test_what_promtool_says(tmp_path):
    """Nothing against a scrape; something against a text that is wrong."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: Debian's package `prometheus` has it")
    text = render_prometheus(asyncio.run(ran(busy(tmp_path))).families())[0]
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=30, check=False)
    assert (checked.returncode, checked.stderr.decode(), checked.stdout.decode()) == (0, "", "")
    wrong = text.replace(b"# TYPE dagflow_records_total counter", b"# TYPE dagflow_records_total countess")
    checked = subprocess.run([promtool, "check", "metrics"], input=wrong, capture_output=True, timeout=30, check=False)
    assert checked.returncode != 0


async def test_labels_of_the_file(tmp_path):
    """Stand on each sample."""
    with OtlpReceiver() as receiver:
        tables = f'[metrics]\nlabels = {{ env = "prod" }}\n[metrics.otlp]\nendpoint = "{receiver.url}/v1/metrics"'
        engine = await ran(busy(tmp_path, tables))
        assert all(("env", "prod") in labels for _, labels in of_otlp(receiver.metrics))
    text = render_prometheus(engine.families(), labels=engine.plan.metric_labels)[0].decode()
    assert all(("env", "prod") in labels for _, labels in scraped(text))


async def test_over_grpc_with_a_secret(tmp_path):
    """A header goes to the receiver and nowhere else."""
    with OtlpReceiver() as receiver:
        address = f"http://127.0.0.1:{receiver.grpc_port}"
        keys = f'protocol = "grpc"\nendpoint = "{address}"\nheaders = {{ x-key = "a-secret-of-ours" }}'
        engine = await ran(busy(tmp_path, f"[metrics.otlp]\n{keys}"))
        assert receiver.metrics
        assert receiver.headers["x-key"] == "a-secret-of-ours"
    assert "a-secret" not in str(engine.plan.effective)


@pytest.mark.parametrize(
    "keys", ['[metrics.otlp]\nendpoint = "http://127.0.0.1:9/v1/metrics"\ntimeout = "100ms"\ninterval = "10ms"']
)
async def test_a_receiver_that_is_not_there(tmp_path, keys):
    """Harms nobody; what was lost is counted."""
    engine = await ran(busy(tmp_path, keys))
    assert engine.report()["outcomes"]["delivered"] > 0
    [failed] = next(f.points for f in engine.families() if f.name == "dagflow_exports_failed")
    assert failed.labels == {"exporter": "otlp"}
    assert failed.value >= 1


async def test_names_without_tags(tmp_path):
    """Values of labels are parts of the name; a prefix stands before it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.2", 0))
        receiver.settimeout(5)
        keys = f'[metrics.statsd]\nhost = "127.0.0.2"\nport = {receiver.getsockname()[1]}\nprefix = "prod."'
        await ran(busy(tmp_path, keys))
        lines = receiver.recv(2000).decode().split("\n")
    assert "prod.dagflow_records_accepted:100|c" in lines


async def test_how_old_the_oldest_is():
    """Where somebody reads, each record is marked as it comes into an edge."""
    text = """
[pipeline]
drain_timeout = "10ms"
edges = [{ from = "in", to = "work" }, { from = "work", to = "out" }]
[sources.in]
type = "generate"
count = 3
[stages.work]
type = "sleep"
delay = "1h"
[sinks.out]
type = "null"
[metrics.statsd]
"""
    engine = Engine(compile_text(text), log=SILENT)
    run = asyncio.ensure_future(engine.run())
    while engine.report()["accepted"] < 3 or not engine.report()["nodes"]["work"]["busy"]:
        await asyncio.sleep(0)
    first, later = oldest(engine), oldest(engine)
    while later <= first:
        later = oldest(engine)
    engine.stop("test")
    await run
    assert oldest(engine) == 0


def oldest(engine):
    """The age of the oldest record before `work`, in seconds."""
    return values(engine.families())["dagflow_edge_oldest_age_seconds", frozenset({("edge", "in -> work")})]


@pytest.mark.parametrize(
    ("table", "code"),
    [
        ("[metrics.nowhere]", "unknown-type"),
        ("[metrics.otlp]\nport = 1", "unknown-key"),
        ('[metrics.otlp]\nendpoint = "x"', "invalid-option"),
        ("[metrics.statsd]\nport = 0", "out-of-range"),
        ('[metrics.statsd]\ninterval = "0s"', "out-of-range"),
        ('[metrics.statsd]\ntimeout = "0s"', "out-of-range"),
        ("[metrics]\nlabels = { edge = '1' }", "invalid-option"),
        ("[metrics]\nlabels = { '1a' = '1' }", "invalid-option"),
        ("[metrics]\nother = 1", "unknown-key"),
    ],
)
def test_a_wrong_table(tmp_path, table, code):
    """Is told before anything starts."""
    with pytest.raises(ConfigError) as caught:
        compile_text(busy(tmp_path, table))
    assert [d.code for d in caught.value.diagnostics if d.severity == "error"] == [code]


def test_the_catalogue_says_what_each_is(tmp_path):
    """Each metric of a busy run stands there, with a sentence."""
    engine = asyncio.run(ran(busy(tmp_path)))
    assert {family.name for family in engine.families()} <= CATALOG.keys()
    assert all(entry.help.endswith(".") for entry in CATALOG.values())
    assert len(engine.families()) > 40


def test_octaves_are_exact():
    """A duration at a bound belongs above it, one just below to it: no bucket lies on both sides."""
    histogram = Histogram()
    for bound in OCTAVES_NS:
        histogram.observe(bound - 16)
        histogram.observe(bound)
    buckets = histogram.buckets()
    assert buckets.counts == (1, *[2] * (len(OCTAVES_NS) - 1), 1)
    assert buckets.total == pytest.approx(sum(2 * bound - 16 for bound in OCTAVES_NS) / 1e9)


def test_distributions_include_their_bounds():
    """As `le` says."""
    distribution = Distribution((1, 4, 16))
    for value in (0, 1, 2, 4, 5, 16, 17, 99):
        distribution.observe(value)
    assert distribution.buckets() == Buckets((1, 4, 16), (2, 2, 2, 2), 144)
    assert [distribution.buckets().quantile(share) for share in (0.1, 0.5, 0.75, 1.0)] == [1, 4, 16, None]
    assert Buckets((1,), (0, 0), 0).quantile(0.5) is None


def test_names_in_prometheus():
    """Units stand at the end, dots become underscores."""
    sample = (Point({}, 1),)
    assert prometheus_name(Family("gen_ai.client.token.usage", "gauge", "", "{token}", sample)) == (
        "gen_ai_client_token_usage_tokens"
    )
    assert prometheus_name(Family("dagflow_uptime_seconds", "gauge", "", "s", sample)) == "dagflow_uptime_seconds"


async def test_names_of_the_conventions():
    """What the conventions for generative AI call for, from streams and from records that fail."""
    async with served(PLAIN.replace("[pipeline]", '[pipeline]\nname = "talk"')) as service:
        await service.chat(stream=True)
        await service.chat()
        await service.chat(max_tokens=-1)
    found = {f.name: f.points for f in service.engine.families() if f.name.startswith("gen_ai.")}
    assert set(found) == {name for name in CATALOG if name.startswith("gen_ai.")}
    [gaps] = found["gen_ai.client.operation.time_per_output_chunk"]
    assert sum(gaps.value.counts) == 2  # three words
    assert gaps.labels["gen_ai.operation.name"] == "chat"
    workflows = {point.labels.get("error.type"): point for point in found["gen_ai.workflow.duration"]}
    assert {error: sum(point.value.counts) for error, point in workflows.items()} == {None: 2, "failed": 1}
    assert {point.labels["gen_ai.workflow.name"] for point in workflows.values()} == {"talk"}
    assert workflows[None].value.bounds[0] == 1.0
