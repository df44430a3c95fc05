"""The admin listener: when it is there, whom it answers, and what it says of a pipeline."""

import asyncio
import json
import re
import socket
from pathlib import Path

import pytest
from listening import admin_at, listening, running, until
from rigs import Flow, FunctionStage, ListSink, ListSource, records

from dagflow.addresses import Address
from dagflow.admin import listener as listener_module
from dagflow.admin.beacon import read_beacon
from dagflow.admin.letters import DeadLetters
from dagflow.admin.overview import Overview
from dagflow.admin.tapping import Tapping
from dagflow.admin.view import EngineView
from dagflow.engine.supervise import run_supervised
from dagflow.errors import AdminError
from dagflow.graph.plan import AdminPlan
from dagflow.plugin import Source

pytestmark = pytest.mark.anyio


class Waiting(Source):
    """A live source that hands in what it has, and then waits."""

    finite = False

    def __init__(self, given=()):
        super().__init__()
        self.given = given

    async def records(self):
        """Give the records, and wait for ever."""
        for record in self.given:
            yield record
        await asyncio.Event().wait()


def flow(tmp_path, source=None, stage=None, **plan):
    """A pipeline of three nodes with an admin listener."""
    plugins = {"in": source or Waiting(records(3)), "work": FunctionStage(stage or same), "out": ListSink()}
    return Flow(plugins, ["in -> work", "work -> out"], admin=admin_at(tmp_path), **plan)


async def same(record):
    """A stage that does nothing."""
    return record


async def test_probes_tell_whether_it_starts_runs_or_drains(tmp_path):
    """It is alive at all times, and ready only while it runs; all without a token."""
    opening, drained = asyncio.Event(), asyncio.Event()
    one = flow(tmp_path, stage=lambda record: drained.wait())
    one.plugins["work"].open = lambda context: opening.wait()
    engine = one.engine()
    async with listening(engine) as ask:

        async def ready():
            assert (await ask("/livez", token=False))[0] == 200
            status, _, body = await ask("/readyz", token=False)
            assert status == (200 if body["ready"] else 503)
            return body

        run = asyncio.ensure_future(engine.run())
        starting = {"ready": False, "reasons": [{"what": "pipeline", "reason": "starting"}]}
        assert await ready() == starting
        assert (await ask.get("/status"))["state"] == "starting"
        opening.set()
        await engine.started.wait()
        assert await ready() == {"ready": True, "reasons": []}
        await until(lambda: engine.report()["in_flight"] == 3)
        engine.stop("test")
        draining = {"ready": False, "reasons": [{"what": "pipeline", "reason": "draining"}]}
        assert await ready() == draining
        assert (await ask.get("/status"))["state"] == "draining"
        drained.set()
        await run


async def test_status_is_the_report_and_more(tmp_path):
    """It has the numbers of the report, the state, and the latency of late."""
    async with running(flow(tmp_path).engine()) as ask:
        await ask.get("/status")
        status = await until(lambda: settled(ask))
        assert (status["state"], status["ready"], status["stopped_by"]) == ("running", True, None)
        assert status["outcomes"]["delivered"] == status["nodes"]["work"]["done"] == 3
        assert status["edges"]["in -> work"]["capacity"] == 512
        assert (status["nodes"]["work"]["slots"], "slots" in status["nodes"]["in"]) == (1, False)
        assert status["nodes"]["work"]["recent"].keys() == {"count", "p50_s", "p99_s"}
        assert "exit_code" not in status


async def settled(ask):
    """The status, once all is delivered."""
    status = await ask.get("/status")
    return status if status["outcomes"]["delivered"] == 3 else None


async def test_metrics_are_told_without_a_token(tmp_path):
    """As text for Prometheus, or as OpenMetrics where that is asked for; with the labels of the file."""
    one = flow(tmp_path, metric_labels={"site": "here"})
    async with running(one.engine()) as ask:
        await until(lambda: settled(ask))
        status, headers, text = await ask("/metrics", token=False)
        assert (status, headers["Content-Type"].partition(";")[0]) == (200, "text/plain")
        assert 'dagflow_records_total{outcome="delivered",site="here"} 3.0' in text
        _, headers, text = await ask("/metrics", token=False, headers={"Accept": "application/openmetrics-text"})
        assert headers["Content-Type"].startswith("application/openmetrics-text")
        assert text.endswith("# EOF\n")


async def test_the_graph_as_json_and_as_a_picture(tmp_path):
    """The form is chosen by the header or by the query."""
    async with listening(flow(tmp_path).engine()) as ask:
        assert [node["name"] for node in (await ask.get("/graph"))["nodes"]] == ["in", "work", "out"]
        for options in ({"headers": {"Accept": "image/svg+xml"}}, {"params": {"format": "svg"}}):
            _, headers, body = await ask("/graph", **options)
            assert headers["Content-Type"].startswith("image/svg+xml")
            assert 'data-edge="in -&gt; work"' in body
        assert (await ask("/graph", params={"format": "png"}))[0] == 400


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"token": False}, 401),
        ({"token": False, "headers": {"Authorization": "Bearer wrong"}}, 401),
        ({"token": False, "headers": {"Authorization": "Bearer"}}, 401),
        ({"headers": {"Host": "attacker.example"}}, 403),
        ({"headers": {"Host": "attacker.example:9178"}}, 403),
        ({"headers": {"Host": ""}}, 403),
        ({"headers": {"Host": "127.0.0.1.attacker.example"}}, 403),
        ({"headers": {"Host": "[::1"}}, 403),
        ({"headers": {"Origin": "http://attacker.example"}}, 403),
        ({"headers": {"Origin": "http://127.0.0.1:1"}}, 403),
        ({"headers": {"Origin": "null"}}, 403),
        ({"headers": {"Host": "localhost:7000", "Origin": "http://localhost:7000"}}, 200),
        ({"method": "POST", "data": "x"}, 415),
        ({"method": "POST", "data": "{}", "headers": {"Content-Type": "text/plain"}}, 415),
        ({"method": "POST", "json": {}}, 405),
        ({}, 200),
    ],
)
async def test_who_is_let_in(tmp_path, options, status):
    """Only requests to this machine, from no other page, with the token; changes only as JSON."""
    async with listening(flow(tmp_path).engine()) as ask:
        found, headers, body = await ask("/status", **options)
        assert found == status
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert ("error" in body) is (status != 200)


async def test_probes_check_the_host_too(tmp_path):
    """What is open without a token is not open to pages of other names."""
    async with listening(flow(tmp_path).engine()) as ask:
        assert (await ask("/readyz", token=False, headers={"Host": "attacker.example"}))[0] == 403
        assert (await ask("/nothing"))[0] == 404


async def test_the_token_is_there_while_it_runs(tmp_path):
    """The file appears at the start, with the port that was taken, and is gone at the end."""
    async with listening(flow(tmp_path).engine()) as ask:
        written = json.loads((tmp_path / "admin.json").read_text())
        assert written["address"] == ask.beacon.address
        assert not written["address"].endswith(":0")
        assert len(written["token"]) >= 43
    assert read_beacon(tmp_path / "admin.json") is None


async def test_a_port_that_is_taken_is_told_before_anything_is_read(tmp_path):
    """The run fails at once, with the remedy."""
    async with listening(flow(tmp_path).engine()) as ask:
        source = ListSource(records(3))
        other = Flow({"in": source, "out": ListSink()}, ["in -> out"], admin=admin_at(tmp_path, port_of(ask)))
        with pytest.raises(AdminError, match=r"can't listen at `127\.0\.0\.1:.*`listen`; port 0"):
            await run_supervised(other.plan, company=listener_module.serving)
        assert source.handed_in == 0
        assert (await ask("/livez"))[0] == 200


async def test_a_replay_by_command_runs_beside_it(tmp_path):
    """What runs without company leaves the table out: the port is that of the pipeline."""
    async with listening(flow(tmp_path).engine()) as ask:
        source = ListSource(records(3))
        other = Flow({"in": source, "out": ListSink()}, ["in -> out"], admin=admin_at(tmp_path, port_of(ask)))
        assert (await run_supervised(other.plan))["outcomes"]["delivered"] == 3


@pytest.mark.parametrize("host", ["localhost", "::1", "127.0.0.9"])
async def test_every_address_of_this_machine_will_do(tmp_path, host):
    """Names and IPv6 as well; what stands in the token file can be asked."""
    one = Flow({"in": Waiting(), "out": ListSink()}, ["in -> out"], admin=AdminPlan(Address(host, 0), tmp_path / "t"))
    if host == "::1" and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    async with listening(one.engine()) as ask:
        assert (await ask("/livez"))[0] == 200


def has_ipv6():
    """Whether there is a loopback of that kind."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def port_of(ask):
    """The port of a listener."""
    return int(ask.beacon.address.rpartition(":")[2])


async def test_it_answers_until_everything_is_closed(tmp_path):
    """A plugin that closes finds the listener still there."""
    one, seen = flow(tmp_path), []
    engine = one.engine()
    async with listening(engine) as ask:

        async def close():
            seen.append(await ask.get("/readyz"))

        one.plugins["out"].close = close
        run = asyncio.ensure_future(engine.run())
        await engine.started.wait()
        engine.stop("test")
        await run
    assert seen == [{"ready": False, "reasons": [{"what": "pipeline", "reason": "draining"}]}]


async def test_too_many_connections_are_closed(tmp_path, monkeypatch):
    """Those that are one too many get no answer; those before them do."""
    monkeypatch.setattr(listener_module, "MOST_CONNECTIONS", 2)
    async with listening(flow(tmp_path).engine()) as ask:
        port = port_of(ask)
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
        idle[0][1].write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await idle[0][0].readline() == b"HTTP/1.1 200 OK\r\n"
        for _, one in [*idle, (reader, writer)]:
            one.close()


async def test_slow_requests_are_cut_off(tmp_path, monkeypatch):
    """A connection on which no request comes to its end is closed after a while."""
    monkeypatch.setattr(listener_module, "IDLE_S", 0.05)
    async with listening(flow(tmp_path).engine()) as ask:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(ask))
        writer.write(b"GET /livez HTTP/1.1\r\nX-Slow: ")
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


async def test_no_table_no_listener(tmp_path):
    """Without `[admin]`, nothing listens and nothing is written."""
    one = Flow({"in": ListSource(records(1)), "out": ListSink()}, ["in -> out"])
    report = await run_supervised(one.plan, company=listener_module.serving)
    assert report["outcomes"]["delivered"] == 1
    assert list(tmp_path.iterdir()) == []


def test_the_guide_names_every_route(tmp_path):
    """The table of the guide has what the listener answers, and nothing else."""
    engine = flow(tmp_path).engine()
    view = EngineView(engine)
    parts = (Overview(view), DeadLetters(view), Tapping(view))
    app = listener_module.build_application("", None, *parts)
    routes = {f"{route.method} {route.resource.canonical}" for route in app.router.routes() if route.method != "HEAD"}
    text = (Path(__file__).parents[2] / "docs" / "guide" / "41-operating.md").read_text()
    told = set(re.findall(r"^\| `((?:GET|POST) [^`]+)` \|", text, re.MULTILINE))
    assert told == {route for route in routes if "/page/" not in route and "favicon" not in route}
