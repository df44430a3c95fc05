"""Tapping over HTTP: samples of an edge or a worker as JSON lines, for as long as somebody reads them.

The last line says how many records or calls passed, how many were shown and how many dropped, where it ends by itself.
Nothing of a record is told but names and sizes, unless its payload is asked for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pydantic import Field

from dagflow.admin.replies import as_line, refusal
from dagflow.admin.samples import Describer
from dagflow.admin.selections import WrongRequest, read
from dagflow.errors import SeveralProcesses
from dagflow.options import Options

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from aiohttp import web

    from dagflow.admin.view import View
    from dagflow.engine.taps import Tap

MOST_TAPS: Final = 8
"""How many may be open at a time."""

_SIGN_S: Final = 5.0  # an empty line after so long a silence shows who has left


class Query(Options):
    """What is tapped, and how."""

    edge: str | None = Field(None, description="an edge, such as `a -> b`")
    worker: str | None = Field(None, description="a worker")
    fields: str = Field("", description="the fields that are told, with commas between; all by default")
    payload: bool = Field(False, description="whether values are told")
    rate: float = Field(10.0, gt=0, le=1000, description="at most so many samples a second")
    limit: int | None = Field(None, ge=1, description="so many samples, and then an end")


class Tapping:
    """The route of taps."""

    def __init__(self, view: View) -> None:
        self._view = view

    def routes(self) -> list[web.RouteDef]:
        """Give it."""
        from aiohttp import web

        return [web.get("/tap", self._tap)]

    async def _tap(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        try:
            query = read(Query, dict(request.query), strict=False)
            opened = self._opened(query)
        except WrongRequest as error:
            return refusal(400, error.code, str(error))
        except SeveralProcesses as error:
            return refusal(409, error.code, str(error))
        if self._view.taps >= MOST_TAPS:
            return refusal(503, "too-many-taps", f"{MOST_TAPS} taps are open, which is as many as there may be")
        fields = frozenset(name.strip() for name in query.fields.split(",") if name.strip())
        describer = Describer(self._view.redactor, query.payload, fields)
        response = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
        with opened as tap:
            await response.prepare(request)
            await _pass_on(tap, describer, response, query.limit)
        return response

    def _opened(self, query: Query) -> AbstractContextManager[Tap]:
        plan = self._view.plan
        if (query.edge is None) is (query.worker is None):
            raise WrongRequest("expected `edge` or `worker`")
        known = plan.workers if query.edge is None else [edge.name for edge in plan.edges]
        kind, name = ("worker", query.worker) if query.edge is None else ("edge", query.edge)
        if name not in known:
            names = ", ".join(f"`{one}`" for one in known) or "none"
            raise WrongRequest(f"there is no {kind} `{name}`; the pipeline has {names}")
        return self._view.tap(kind, name, query.rate)


async def _pass_on(tap: Tap, describer: Describer, response: web.StreamResponse, limit: int | None) -> None:
    shown = 0
    while limit is None or shown < limit:
        try:
            async with asyncio.timeout(_SIGN_S):
                sample = await tap.next()
        except TimeoutError:
            await response.write(b"\n")
            continue
        if sample is None:
            break
        await response.write(as_line(describer.describe(sample)))
        shown += 1
    await response.write(as_line({"seen": tap.seen, "shown": shown, "dropped": tap.dropped}))
