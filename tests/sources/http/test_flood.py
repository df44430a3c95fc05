"""Floods, bounded: more connections, requests and tokens than there is room for, all at once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest
from service import CHAT, PLAIN, served, until

pytestmark = pytest.mark.anyio
BODY = json.dumps(CHAT).encode()
HEADERS = b"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\n" + HEADERS % len(BODY) + BODY


def narrow(source="", stage="", edge=""):
    """A service with little room."""
    text = PLAIN.replace('listen = "127.0.0.1:0"', f'listen = "127.0.0.1:0"\n{source}')
    text = text.replace('to = "ask" }', f'to = "ask"{edge} }}')
    return text.replace('worker = "main"', f'worker = "main"\n{stage}')


async def status_of(reader) -> int:
    """Read one answer; gives its status, 0 for a connection that was closed instead."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return 0
    lines = head.decode().lower().split("\r\n")
    [length] = [int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")]
    await reader.readexactly(length)
    return int(lines[0].split()[1])


async def ask_times(service, count: int) -> list[int]:
    """Ask so many times over one connection, without waiting for answers; gives the statuses."""
    host, port = str(service.source.address).split(":")
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
    except ConnectionError:
        return [0]
    writer.write(REQUEST * count)
    found = []
    while len(found) < count and (not found or found[-1]):
        found.append(await status_of(reader))
    writer.close()
    return found


async def test_connections():
    """Beyond `max_connections` they are told so and closed; those that were in are answered all the same."""
    async with served(narrow("max_connections = 20")) as service:
        answers = await asyncio.gather(*(ask_times(service, 5) for _ in range(200)))
        await until(lambda: not service.source._listener._server.connections)
        assert (await service.chat()).status == 200
    full = [statuses for statuses in answers if statuses[0] == 200]
    assert len(full) >= 20
    assert all(statuses == [200] * 5 for statuses in full)
    assert {statuses[0] for statuses in answers} <= {200, 503, 0}
    assert service.report["accepted"] == 5 * len(full) + 1


async def test_requests():
    """Each is answered or refused at once, and counted once; nothing of them stays."""
    text = narrow(stage="concurrency = 2", edge=", capacity = 4")
    async with served(text.replace('type = "echo"', 'type = "echo"\ndelay = "1ms"')) as service:
        answers = await asyncio.gather(*(ask_times(service, 20) for _ in range(50)))
        statuses = Counter(status for found in answers for status in found)
        door = service.source._door
        assert not door.inside
        assert not door.waiting
        assert (await service.chat()).status == 200
    assert set(statuses) == {200, 429}
    assert statuses.total() == 1000
    assert statuses[200] + 1 == service.report["accepted"] == service.report["outcomes"]["delivered"]


async def test_tokens():
    """A flood without a valid token reaches nothing."""
    auth = '[auth]\ntokens = [{ token = "a-token-of-the-test-1", tenant = "a" }]'
    async with served(narrow() + auth) as service:
        answers = await asyncio.gather(*(ask_times(service, 10) for _ in range(50)))
    assert Counter(status for found in answers for status in found) == {401: 500}
    assert service.report["accepted"] == 0
