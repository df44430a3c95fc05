"""The fifth promise: every key of the engine changes what a run does.

One test for each key, named after its table and itself; the last test finds keys without one.
Keys of plugins are tested with their plugins.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import aiohttp
import pytest
from rigs import SILENT

from dagflow.admin.beacon import beacon_path, read_beacon
from dagflow.admin.listener import serving
from dagflow.compile import compile_text
from dagflow.config import tables
from dagflow.config.auth_tables import AuthTable, TokenTable
from dagflow.config.metrics_tables import ExporterTable, MetricsTable
from dagflow.config.shape import fields_of
from dagflow.config.worker_tables import GuardKeys
from dagflow.engine.engine import Engine
from dagflow.engine.guard import backoff_s
from dagflow.errors import ConfigError, WorkerError
from dagflow.exporters.otlp import Otlp
from dagflow.exporters.statsd import Statsd
from dagflow.redaction import Redactor
from dagflow.sources.http.options import HttpOptions
from dagflow.telemetry.logging import configure_logging

SLEEP = 'type = "sleep"\ndelay = "1ms"\n'
FAIL = 'type = "fail"\nerror = "unavailable"\n'
PLAIN = '{ from = "in", to = "work" }, { from = "work", to = "out" }'


def text(edges=PLAIN, pipeline="", source="", stage=SLEEP, sink="", top=""):
    """A file: 20 records from `in` through `work` to `out`."""
    return f"""
[pipeline]
{pipeline}
edges = [{edges}]
{top}
[sources.in]
type = "generate"
count = 20
{source}
[stages.work]
{stage}
[sinks.out]
type = "null"
{sink}
"""


def first(settings):
    """Edges of which the first has further settings."""
    return PLAIN.replace(" }", f", {settings} }}", 1)


def run(file, stop=False):
    """Run a file, or stop it once all is accepted, and give the report."""

    async def main():
        engine = Engine(compile_text(file), log=SILENT)
        running = asyncio.ensure_future(engine.run())
        while stop and engine.report()["accepted"] < 20:
            await asyncio.sleep(0)
        if stop:
            engine.stop("test")
        return await running

    return asyncio.run(main())


def outcomes(file, stop=False):
    """The outcomes that occurred."""
    return {name: count for name, count in run(file, stop)["outcomes"].items() if count}


def edge(file, name="in -> work"):
    """What the report says of an edge."""
    return run(file)["edges"][name]


def node(file, name="work"):
    """What the report says of a node."""
    return run(file)["nodes"][name]


def code(file):
    """The code of the one error in a file."""
    with pytest.raises(ConfigError) as caught:
        compile_text(file)
    [error] = caught.value.diagnostics
    return error.code


def test_pipeline_name():
    """It heads the report."""
    assert run(text(pipeline='name = "mine"'))["pipeline"] == "mine"


def test_pipeline_max_in_flight():
    """With 1 in flight no record waits behind another."""
    assert edge(text(pipeline="max_in_flight = 1"))["max_depth"] == 1
    assert edge(text(pipeline="max_in_flight = 9"))["max_depth"] == 9


def test_pipeline_drain_timeout():
    """A drain finishes what it has time for."""
    slow = SLEEP.replace("1ms", "20ms") + "concurrency = 20"
    assert outcomes(text(pipeline='drain_timeout = "1us"', stage=slow), stop=True) == {"cancelled": 20}
    assert outcomes(text(pipeline='drain_timeout = "30s"', stage=slow), stop=True) == {"delivered": 20}


def test_pipeline_edges():
    """They are the graph."""
    assert list(run(text())["edges"]) == ["in -> work", "work -> out"]


def test_edge_from_and_to():
    """An edge leads where it says."""
    sides = '[sinks.other]\ntype = "null"'
    edges = PLAIN + ', { from = "in", to = "other" }'
    assert node(text(edges, top=sides), "other")["taken"] == 20


@pytest.mark.parametrize("capacity", [2, 5])
def test_edge_capacity(capacity):
    """No more records wait than it says."""
    assert edge(text(first(f"capacity = {capacity}")))["max_depth"] == capacity


def test_edge_max_bytes():
    """No more bytes wait than it says: a record is {"input":"record 0","n":0}, 26 bytes."""
    assert edge(text(first('max_bytes = "60B"')))["max_depth"] == 2


def test_edge_when_full():
    """Each policy sheds, `block` does not; which record goes is tested with the channel."""
    for policy in ("drop_newest", "drop_oldest", "drop_lowest"):
        assert set(edge(text(first(f'capacity = 2, when_full = "{policy}"')))["shed_reasons"]) == {policy}
    assert edge(text(first('capacity = 2, when_full = "block"')))["shed"] == 0


def test_edge_spill(tmp_path):
    """What has no room goes to disk."""
    spilled = 'capacity = 2, when_full = "spill", spill = { path = "SPILL" }'.replace("SPILL", str(tmp_path / "here"))
    found = edge(text(first(spilled)))
    assert (found["taken"], found["shed"]) == (20, 0)
    assert found["spilled"] > 10


def test_spill_path(tmp_path):
    """It is there while the run lasts."""
    spilled = f'capacity = 2, when_full = "spill", spill = {{ path = "{tmp_path}/here" }}'
    run(text(first(spilled)))
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_spill_max_bytes(tmp_path):
    """No more is on disk than it says, and one record."""
    spilled = f'capacity = 2, when_full = "spill", spill = {{ path = "{tmp_path}/here", max_bytes = "MOST" }}'
    file = text(first(spilled), source="input = \"{{ 'long ' * 2000 }}\"")
    assert edge(file.replace("MOST", "64KiB"))["max_depth"] < 12
    assert edge(file.replace("MOST", "1MiB"))["max_depth"] > 15


def test_edge_block_timeout():
    """Who waits longer at a full edge is shed."""
    slow = SLEEP.replace("1ms", "20ms")
    row = edge(text(first('capacity = 2, block_timeout = "1ms"'), stage=slow))
    assert row["shed_reasons"]["block_timeout"] > 0


def test_edge_max_wait():
    """Who waited longer in the edge is shed when its turn comes."""
    assert edge(text(first('max_wait = "1us"')))["shed_reasons"]["max_wait"] > 0
    assert edge(text(first('max_wait = "1h"')))["shed"] == 0


def in_order(tmp_path, order):
    """The priorities of the records as they come out, where all wait in one edge."""
    file = text(first(order), source="priorities = [0, 1, 2]").replace(
        'type = "null"', f'type = "jsonl"\npath = "{tmp_path / "out.jsonl"}"\ntemplate = "{{{{ priority }}}}"'
    )
    run(file)
    return (tmp_path / "out.jsonl").read_text().split()


def test_edge_order(tmp_path):
    """The most important record comes first, not the one that came first."""
    assert in_order(tmp_path, 'order = "priority"') == sorted(in_order(tmp_path, 'order = "fifo"'), reverse=True)
    assert in_order(tmp_path, 'order = "deadline"') == in_order(tmp_path, 'order = "fifo"')


def test_edge_ageing(tmp_path):
    """The less it takes to become important, the more waiting counts."""
    assert in_order(tmp_path, 'order = "priority", ageing = "1h"') != in_order(tmp_path, 'order = "fifo"')
    assert in_order(tmp_path, 'order = "priority", ageing = "0.001us"') == in_order(tmp_path, 'order = "fifo"')


def test_edge_when():
    """Only what it holds of goes this way."""
    assert outcomes(text(first('when = "n < 5"'))) == {"delivered": 5, "failed": 15}


def test_edge_best_effort():
    """What fails behind it does not count."""
    edges = (
        '{ from = "in", to = "work", best_effort = true }, { from = "work", to = "out" }, { from = "in", to = "out" }'
    )
    assert outcomes(text(edges, stage=FAIL)) == {"delivered": 20}
    assert outcomes(text(edges.replace(", best_effort = true", ""), stage=FAIL)) == {"failed": 20}


def test_edge_via():
    """It is looked up among the installed transports."""
    assert edge(text(first('via = "memory"')))["taken"] == 20
    assert code(text(first('via = "pigeon"'))) == "unknown-transport"


def test_node_type():
    """It is looked up among the installed plugins."""
    assert code(text(stage='type = "sleeep"')) == "unknown-type"


def test_node_fan_out():
    """`all` takes both edges, `first` the first that holds."""
    two = '{ from = "in", to = "work", when = "n < 5" }, { from = "in", to = "out" }, { from = "work", to = "out" }'
    assert edge(text(two, source='fan_out = "all"'), "in -> out")["taken"] == 20
    assert edge(text(two, source='fan_out = "first"'), "in -> out")["taken"] == 15


def test_node_unmatched():
    """What no edge takes fails, or is filtered."""
    edges = first('when = "n < 5"')
    assert outcomes(text(edges, source='unmatched = "fail"')) == {"delivered": 5, "failed": 15}
    assert outcomes(text(edges, source='unmatched = "filter"')) == {"delivered": 5, "filtered": 15}


def test_node_concurrency():
    """So many are worked on at a time: with 20, nobody waits for a slot that sleeps."""
    forever = SLEEP.replace("1ms", "1h") + "concurrency = {}"
    for slots in (1, 7):
        report = run(text(pipeline='drain_timeout = "1ms"', stage=forever.format(slots)), stop=True)
        assert [row["where"] for row in report["unfinished"]].count("work") == slots


def test_node_timeout():
    """An attempt that takes longer fails."""
    assert outcomes(text(stage=SLEEP.replace("1ms", "1h") + 'timeout = "1ms"\nconcurrency = 20')) == {"failed": 20}


def test_node_retry():
    """A failed attempt is made again."""
    assert node(text(stage=FAIL))["retried"] == 0
    assert node(text(stage=FAIL + 'retry = { attempts = 2, backoff = "1us" }'))["retried"] == 20


def test_node_on_error():
    """A failed record is dropped as asked, or not kept although it should be, or goes to the error port."""
    assert node(text(stage=FAIL + 'on_error = "drop"'))["not_kept"] == 0
    assert node(text(stage=FAIL + 'on_error = "dead_letter"'))["not_kept"] == 20
    edges = PLAIN + ', { from = "work.error", to = "out" }'
    assert outcomes(text(edges, stage=FAIL + 'on_error = "port"')) == {"delivered": 20}


def test_node_affinity():
    """Records of one session are worked on one at a time."""
    forever = SLEEP.replace("1ms", "1h") + "concurrency = 4\n"
    for affinity, slots in (("", 4), ('affinity = "session"', 1)):
        file = text(pipeline='drain_timeout = "1ms"', source="sessions = 1", stage=forever + affinity)
        assert [row["where"] for row in run(file, stop=True)["unfinished"]].count("work") == slots


def joined(settings, stage=SLEEP):
    """A file in which `pick` gets each record from `in` and from `work`."""
    edges = (
        '{ from = "in", to = "work" }, { from = "in", to = "pick" }, { from = "work", to = "pick" }, '
        '{ from = "pick", to = "out" }'
    )
    return text(edges, stage=stage, top=f'[stages.pick]\ntype = "set"\nfields = {{ x = "1" }}\n{settings}')


def test_node_join():
    """`all` makes one record of the branches, `any` takes the first; otherwise each comes by itself."""
    assert node(joined(""), "out")["taken"] == 40
    assert node(joined('join = "all"'), "pick")["join"]["joined"] == node(joined('join = "all"'), "out")["taken"] == 20
    assert node(joined('join = "any"'), "pick")["join"]["late"] == 20


def test_node_join_timeout():
    """A join goes on, or fails, when it has waited so long."""
    slow = SLEEP.replace("1ms", "20ms") + "concurrency = 20"
    for timeout, timed_out in (("1ms", 20), ("1h", 0)):
        row = node(joined(f'join = "all"\njoin_timeout = "{timeout}"', slow), "pick")
        assert row["join"]["timed_out"] == timed_out


def test_node_on_missing():
    """A join without a lost branch fails, or goes on."""
    assert outcomes(joined('join = "all"\non_missing = "fail"', FAIL)) == {"failed": 20}
    assert outcomes(joined('join = "all"\non_missing = "partial"', FAIL)) == {"delivered": 20}


def test_retry_attempts():
    """Attempts are counted in all."""
    assert node(text(stage=FAIL + 'retry = { attempts = 4, backoff = "1us" }'))["retried"] == 60


def longest_wait_s(retry, attempt):
    """The longest of many draws of the wait after an attempt."""
    plan = compile_text(text(stage=FAIL + f"retry = {{ attempts = 9, {retry} }}")).nodes["work"].retry
    return max(backoff_s(plan, attempt, WorkerError("unavailable", "")) for _ in range(500))


def test_retry_backoff():
    """The first wait is drawn up to it, the second up to twice as much."""
    assert 0.05 < longest_wait_s('backoff = "100ms"', 1) <= 0.1
    assert 0.1 < longest_wait_s('backoff = "100ms"', 2) <= 0.2


def test_retry_max_backoff():
    """No wait is longer."""
    assert 0.1 < longest_wait_s('backoff = "100ms", max_backoff = "150ms"', 8) <= 0.15


def test_retry_budget():
    """With none, only the retries that are always allowed are made: 100 are saved up at the start."""
    failing = FAIL + 'retry = {{ attempts = 3, backoff = "0s", max_backoff = "0s"{} }}\n'
    many = {"stage": failing.format(", budget = 0")}
    report = run(text(**many).replace("count = 20", "count = 400"))
    assert 100 <= report["nodes"]["work"]["retried"] < 800
    assert report["nodes"]["work"]["not_retried"] > 0
    report = run(text(stage=failing.format("")).replace("count = 20", "count = 400"))
    assert report["nodes"]["work"]["retried"] == 800


def test_defaults_edge():
    """Edges that do not say otherwise have its values."""
    top = '[defaults.edge]\ncapacity = 3\nmax_bytes = "1KiB"\nwhen_full = "drop_oldest"\nmax_wait = "5s"'
    plan = compile_text(text(first("capacity = 9"), top=top))
    assert [e.capacity for e in plan.edges] == [9, 3]
    assert {(e.max_bytes, e.when_full, e.max_wait_s) for e in plan.edges} == {(1024, "drop_oldest", 5.0)}
    [blocking] = {e.block_timeout_s for e in compile_text(text(top='[defaults.edge]\nblock_timeout = "2s"')).edges}
    assert blocking == 2.0


def letters(tmp_path, settings="", **parts):
    """What the report of a file says of its dead letters."""
    return run(text(top=f'[dead_letters]\npath = "{tmp_path}/letters.db"\n{settings}', **parts))["dead_letters"]


def test_edge_dead_letter(tmp_path):
    """What the edge sheds is kept, or not."""
    shedding = 'capacity = 2, when_full = "drop_newest", dead_letter = {}'
    assert letters(tmp_path, edges=first(shedding.format("false")))["kept"] == 0
    assert letters(tmp_path, edges=first(shedding.format("true")))["kept"] == 18


def test_dead_letters_path(tmp_path):
    """The letters are there."""
    assert letters(tmp_path, stage=FAIL)["kept"] == 20
    assert (tmp_path / "letters.db").stat().st_size > 0


def test_checkpoint_path(tmp_path):
    """What one run has done, the next one leaves out."""
    file = text(top=f'[checkpoint]\npath = "{tmp_path}/checkpoint.db"')
    assert [run(file)["accepted"] for _ in range(2)] == [20, 0]


def test_dead_letters_max_records(tmp_path):
    """Nothing is taken in when there are so many: the endless source ends."""
    endless = {"stage": FAIL, "pipeline": "max_in_flight = 2", "source": "rate = '1000/s'"}
    file = text(top=f'[dead_letters]\npath = "{tmp_path}/letters.db"\nmax_records = 5', **endless)
    report = run(file.replace("count = 20", "count = 1000000"))
    assert report["exit_code"] == 1
    assert 5 <= report["dead_letters"]["kept"] <= 7


def test_dead_letters_max_age(tmp_path):
    """Older ones are removed, and counted, where it is given."""
    letters(tmp_path, stage=FAIL)
    assert letters(tmp_path)["purged"] == 0
    assert letters(tmp_path, 'max_age = "1h"')["purged"] == 0
    assert letters(tmp_path, 'max_age = "1us"') == {
        "path": str(tmp_path / "letters.db"),
        "kept": 0,
        "purged": 20,
        "in_store": 0,
    }


def logged(settings, capsys):
    """What two log lines of different levels look like under the settings."""
    import structlog

    configure_logging(compile_text(text(top=f"[logging]\n{settings}")).logging, Redactor())
    try:
        structlog.get_logger().info("quiet")
        structlog.get_logger().error("loud")
        return capsys.readouterr().err.splitlines()
    finally:
        structlog.reset_defaults()


def test_logging_level(capsys):
    """Less severe lines are left out."""
    assert len(logged('level = "info"', capsys)) == 2
    assert len(logged('level = "error"', capsys)) == 1


def test_logging_format(capsys):
    """One JSON object a line, or lines for people."""
    assert [json.loads(line)["event"] for line in logged('format = "json"', capsys)] == ["quiet", "loud"]
    assert not logged('format = "console"', capsys)[0].startswith("{")


def served(settings):
    """The address at which a file's admin listener answers, while that lasts."""

    async def main():
        plan = compile_text(text(top=f"[admin]\n{settings}"))
        async with serving(Engine(plan, log=SILENT)):
            beacon = read_beacon(beacon_path(plan.admin, None))
            async with aiohttp.ClientSession() as session, session.get(f"{beacon.address}/livez") as answer:
                assert answer.status == 200
        return beacon.address

    return asyncio.run(main())


def test_admin_listen(tmp_path):
    """It answers there."""
    settings = f'token_file = "{tmp_path}/token"\nlisten = "{{}}:0"'
    assert served(settings.format("127.0.0.1")).startswith("http://127.0.0.1:")
    assert served(settings.format("127.0.0.2")).startswith("http://127.0.0.2:")


def test_admin_token_file(tmp_path, monkeypatch):
    """The address is written there, and not where it is by default."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    served('listen = "127.0.0.1:0"')
    assert (tmp_path / "dagflow").exists()
    (tmp_path / "dagflow").rmdir()
    served(f'listen = "127.0.0.1:0"\ntoken_file = "{tmp_path}/token"')
    assert not (tmp_path / "dagflow").exists()


TABLES = {
    "pipeline": tables.PipelineTable,
    "edge": tables.EdgeTable,
    "node": tables.StageTable,
    "retry": tables.RetryTable,
    "spill": tables.SpillTable,
    "defaults": tables.DefaultsTable,
    "dead_letters": tables.DeadLettersTable,
    "checkpoint": tables.CheckpointTable,
    "logging": tables.LoggingTable,
    "admin": tables.AdminTable,
}

TESTED_ELSEWHERE = {
    "processes": (tables.RuntimeTable,),
    "mesh": (tables.SharedTable,),
    "telemetry": (tables.TracingTable, MetricsTable, ExporterTable, Statsd.Options, Otlp.Options),
    "sources/http": (AuthTable, TokenTable, HttpOptions),
}


@pytest.mark.parametrize("folder", TESTED_ELSEWHERE)
def test_keys_of_other_folders(folder):
    """A key that is added there appears in a test there."""
    tests = "".join(file.read_text() for file in (Path(__file__).parent / folder).glob("test_*.py"))
    keys = {key for model in TESTED_ELSEWHERE[folder] for key in fields_of(model)}
    assert {key for key in keys if not re.search(rf"(\b|\\n){key} *=", tests)} == set()


def test_every_key_has_its_test():
    """A key that is added to the language is added here."""
    assert (
        fields_of(tables.SourceTable).keys() | fields_of(tables.SinkTable).keys() <= fields_of(tables.StageTable).keys()
    )
    own = fields_of(tables.WorkerTable).keys() - fields_of(GuardKeys).keys()  # those: tests/inference/test_keys.py
    assert own <= fields_of(tables.StageTable).keys()
    keys = {f"test_{table}_{key}" for table, model in TABLES.items() for key in fields_of(model)}
    assert keys - {"test_edge_from", "test_edge_to"} <= globals().keys()
