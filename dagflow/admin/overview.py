"""Overview: probes, metrics, the graph and the state of a pipeline. It only reads."""

from __future__ import annotations

import os
from time import time
from typing import TYPE_CHECKING, Any

from dagflow.admin.recent import Recent
from dagflow.admin.replies import as_json, refusal
from dagflow.engine.report import settled_of
from dagflow.version import __version__

if TYPE_CHECKING:
    from aiohttp import web

    from dagflow.admin.view import View


class Overview:
    """The routes that tell how a pipeline is."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._born_s, self._started = view.clock(), time()
        self._recent = Recent()

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
        reasons = self._view.reasons()
        return as_json(_readiness(reasons), 503 if reasons else 200)

    async def _metrics(self, request: web.Request) -> web.Response:
        from aiohttp import web

        from dagflow.telemetry.prometheus import render_prometheus

        view = self._view
        text, content_type = render_prometheus(
            view.families(), request.headers.get("Accept", ""), view.plan.metric_labels
        )
        return web.Response(body=text, headers={"Content-Type": content_type})

    async def _graph(self, request: web.Request) -> web.Response:
        from aiohttp import web

        from dagflow.graph.render.json import describe_plan

        wanted = request.query.get("format")
        if wanted not in (None, "json", "svg"):
            return refusal(400, "wrong-format", f"`{wanted}` is no format; expected `json` or `svg`")
        if wanted == "svg" or (wanted is None and "image/svg+xml" in request.headers.get("Accept", "")):
            return web.Response(text=self._drawn(request), content_type="image/svg+xml")
        return as_json(describe_plan(self._view.plan))

    async def _status(self, _request: web.Request) -> web.Response:
        return as_json(self.status())

    def status(self) -> dict[str, Any]:
        """Give the status of the run, with its latest durations."""
        view = self._view
        status, replay = view.status(), view.replayed()
        del status["exit_code"]  # it has none yet
        for place, latest in self._recent.read(view.clock(), view.latencies()).items():
            table, _, name = place.partition("/")
            if name in status[table]:
                status[table][name]["recent"] = latest
        return {
            "state": view.state,
            **_readiness(view.reasons()),
            "time": time(),
            "started": self._started,
            "uptime_s": view.clock() - self._born_s,
            "pid": os.getpid(),
            "version": __version__,
            "max_in_flight": view.plan.max_in_flight,
            "taken_in": status["accepted"] + status["taken_over"],
            "settled": settled_of(status),
            **status,
            **({} if replay is None else {"replay": replay}),
        }

    def _drawn(self, request: web.Request) -> str:
        """Draw the graph: `live=true` leaves room for numbers, `flow=down` and `flow=right` say where it goes."""
        from dagflow.graph.render.svg import render_svg

        downward = {"down": True, "right": False}.get(request.query.get("flow", ""))
        return render_svg(self._view.plan, request.query.get("live") == "true", downward)


def _readiness(reasons: list[Any]) -> dict[str, Any]:
    return {"ready": not reasons, "reasons": [reason._asdict() for reason in reasons]}
