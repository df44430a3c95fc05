"""Overview: probes, metrics, the graph and the state of a pipeline. It only reads."""

from __future__ import annotations

import os
from functools import cached_property
from time import time
from typing import TYPE_CHECKING, Any, Final

from dagflow.admin.recent import Recent
from dagflow.admin.replies import as_json, refusal
from dagflow.version import __version__

if TYPE_CHECKING:
    from aiohttp import web

    from dagflow.admin.readiness import Readiness
    from dagflow.engine.engine import Engine

_WORKER: Final = "worker "  # before the names of workers among those of nodes


class Overview:
    """The routes that tell how a pipeline is."""

    def __init__(self, engine: Engine, readiness: Readiness) -> None:
        self._engine = engine
        self._readiness = readiness
        self._born_s, self._started = engine.clock(), time()

    def routes(self) -> list[web.RouteDef]:
        """Give them."""
        from aiohttp import web

        return [
            web.get("/livez", self._livez),
            web.get("/readyz", self._readyz),
            web.get("/metrics", self._metrics),
            web.get("/graph", self._graph),
            web.get("/status", self._status),
        ]

    async def _livez(self, _request: web.Request) -> web.Response:
        return as_json({"alive": True})

    async def _readyz(self, _request: web.Request) -> web.Response:
        reasons = self._readiness.reasons()
        return as_json(_readiness(reasons), 503 if reasons else 200)

    async def _metrics(self, request: web.Request) -> web.Response:
        from aiohttp import web

        from dagflow.telemetry.prometheus import render_prometheus

        engine = self._engine
        text, content_type = render_prometheus(
            engine.families(), request.headers.get("Accept", ""), engine.plan.metric_labels
        )
        return web.Response(body=text, headers={"Content-Type": content_type})

    async def _graph(self, request: web.Request) -> web.Response:
        from aiohttp import web

        wanted = request.query.get("format")
        if wanted not in (None, "json", "svg"):
            return refusal(400, "wrong-format", f"`{wanted}` is no format; expected `json` or `svg`")
        if wanted == "svg" or (wanted is None and "image/svg+xml" in request.headers.get("Accept", "")):
            return web.Response(text=self._drawn(request), content_type="image/svg+xml")
        return as_json(self._described)

    async def _status(self, _request: web.Request) -> web.Response:
        return as_json(self.status())

    def status(self) -> dict[str, Any]:
        """Give the report as of now, with what only a running pipeline has to say; cheap enough for each second."""
        engine = self._engine
        report = engine.report()
        del report["exit_code"]  # it has none yet
        for name, node in engine.wiring.nodes.items():
            report["nodes"][name]["slots"] = node.plan.concurrency
        for name, latest in self._recent.read(engine.clock()).items():
            rows = report["workers"] if name.startswith(_WORKER) else report["nodes"]
            rows[name.removeprefix(_WORKER)]["recent"] = latest
        for name, channel in engine.wiring.channels.items():
            if (since := channel.statistics().oldest_at) is not None:
                report["edges"][name]["oldest_s"] = max(engine.clock() - since, 0.0)
        return {
            "state": self._readiness.state,
            **_readiness(self._readiness.reasons()),
            "time": time(),
            "started": self._started,
            "uptime_s": engine.clock() - self._born_s,
            "pid": os.getpid(),
            "version": __version__,
            "max_in_flight": engine.plan.max_in_flight,
            **report,
            **self._replayed(),
        }

    def _replayed(self) -> dict[str, Any]:
        """Say how a replay goes, if there was any."""
        reentry = self._engine.wiring.reentry
        replay = None if reentry is None else reentry.plugin.replay
        return {} if replay is None else {"replay": replay.as_dict()}

    @cached_property
    def _recent(self) -> Recent:
        wiring = self._engine.wiring
        histograms = {name: node.latency for name, node in wiring.nodes.items()}
        return Recent(histograms | {_WORKER + name: worker.tally.latency for name, worker in wiring.workers.items()})

    def _drawn(self, request: web.Request) -> str:
        """Draw the graph: `live=true` leaves room for numbers, `flow=down` and `flow=right` say where it goes."""
        from dagflow.graph.render.svg import render_svg

        downward = {"down": True, "right": False}.get(request.query.get("flow", ""))
        return render_svg(self._engine.plan, request.query.get("live") == "true", downward)

    @cached_property
    def _described(self) -> dict[str, Any]:
        from dagflow.graph.render.json import describe_plan

        return describe_plan(self._engine.plan)


def _readiness(reasons: list[Any]) -> dict[str, Any]:
    return {"ready": not reasons, "reasons": [reason._asdict() for reason in reasons]}
