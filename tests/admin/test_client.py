"""The client of the admin listener: what it reads, and what it says of listeners that are none."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from dagflow.admin import client
from dagflow.admin.beacon import Beacon
from dagflow.admin.client import AdminClient
from dagflow.errors import AdminError

pytestmark = pytest.mark.anyio

LONG = {"text": "é" * 300_000}


async def long_lines(request):
    """A sample that is longer than HTTP libraries like lines to be, in between signs of life."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"\n" + json.dumps(LONG).encode() + b"\n\n")
    await response.write(b'{"seen": 1}\n')
    return response


async def silent(_request):
    """Takes the request, and says no more."""
    await asyncio.Event().wait()


@asynccontextmanager
async def asking(handler):
    """A client of a server that answers so."""
    app = web.Application()
    app.router.add_get("/any", handler)
    async with (
        TestServer(app, handler_cancellation=True) as server,
        AdminClient(Beacon(str(server.make_url("")).rstrip("/"), "t", 1)) as one,
    ):
        yield one


async def test_lines_may_be_long():
    """A record has as many fields as it likes, each of which may be shown."""
    async with asking(long_lines) as one:
        assert [line async for line in one.lines("/any", {})] == [LONG, {"seen": 1}]


async def test_who_never_answers_is_given_up(monkeypatch):
    """A pipeline that hangs still takes connections."""
    monkeypatch.setattr(client, "_ASK_S", 0.05)
    async with asking(silent) as one:
        with pytest.raises(AdminError, match="has ended, or hangs"):
            await one.get("/any")


@pytest.mark.parametrize("kind", ["application/json", "text/html"])
async def test_another_service_is_told_as_such(kind):
    """Its answer is no JSON."""

    async def answer(_request):
        return web.Response(text="<p>", content_type=kind)

    async with asking(answer) as one:
        with pytest.raises(AdminError, match="is no admin listener"):
            await one.get("/any")
