"""An engine with an admin listener, and somebody who asks it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from dagflow.addresses import Address
from dagflow.admin.beacon import read_beacon
from dagflow.admin.listener import serving
from dagflow.graph.plan import AdminPlan


def admin_at(folder, port=0):
    """An `[admin]` table whose token file is in a folder."""
    return AdminPlan(Address("127.0.0.1", port), folder / "admin.json")


class Asker:
    """Asks a listener with its token."""

    def __init__(self, session: aiohttp.ClientSession, beacon: Any) -> None:
        self.session = session
        self.beacon = beacon

    async def __call__(self, path, method="GET", token=True, headers=None, **options):
        """Give status, headers and body, as JSON where it is."""
        given = {"Authorization": f"Bearer {self.beacon.token}"} if token else {}
        address = f"{self.beacon.address}{path}"
        async with self.session.request(method, address, headers=given | (headers or {}), **options) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, answer.headers, await (answer.json() if is_json else answer.text())

    async def get(self, path, **options):
        """Give the body alone."""
        return (await self(path, **options))[2]

    async def post(self, path, body):
        """Send JSON; give status and body."""
        status, _, answer = await self(path, "POST", json=body)
        return status, answer


@asynccontextmanager
async def listening(engine):
    """Serve an engine that may run or not; gives who asks."""
    async with serving(engine), aiohttp.ClientSession() as session:
        yield Asker(session, read_beacon(engine.plan.admin.token_file))


@asynccontextmanager
async def running(engine):
    """Serve an engine that runs, until the block ends."""
    async with listening(engine) as ask:
        run = asyncio.ensure_future(engine.run())
        try:
            await engine.started.wait()
            yield ask
        finally:
            if engine.stopped_by is None:
                engine.stop("the test is over")
            await run


async def until(condition):
    """Wait for a condition, which may be asynchronous."""
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        await asyncio.sleep(0.005)
